"""Pydantic's errors in a user's words: the field's path, what was expected, what was there."""

import difflib
import re
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from corpusmill.jobs.problems import Problem

Location = tuple[int | str, ...]


def explain(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """Turn all of a validation's errors into problems, one per field."""
    merged: dict[str, list[str]] = {}
    for details in error.errors(include_url=False):
        location = _location(details)
        merged.setdefault(field_path(location), []).append(_message(details, location, model))
    return [Problem(path, " or ".join(_without_repeats(messages))) for path, messages in merged.items()]


def _location(details: Any) -> Location:
    """Return where an error is in the job file; an unknown key is never taken for the arm of a union."""
    *parents, last = details["loc"] or ("",)
    ours = [part for part in parents if not _is_union_arm(part)]
    return (*ours, *([] if _is_union_arm(last) and details["type"] != "extra_forbidden" else [last]))


def field_path(location: Location) -> str:
    """Write a location as users do: models[0].dtype."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def known_keys(model: type[BaseModel]) -> list[str]:
    """Return the keys of a section, as the job file spells them."""
    return [field.alias or name for name, field in model.model_fields.items()]


def _message(details: Any, location: Location, model: type[BaseModel]) -> str:
    kind, value = details["type"], details.get("input")
    if kind == "extra_forbidden":
        return _unknown_key(str(location[-1]), _section(location[:-1], model), model)
    if kind == "missing":
        return "is required"
    if kind == "value_error":
        return str(details["ctx"]["error"])
    if kind == "invalid_key":
        return f"expected keys that are text, got {location[-1]!r}"
    expected = re.sub(r"^\w+ should (be |have )?|( after validation)?, not \d+$", "", str(details["msg"]))
    return f"expected {expected}, got {value!r:.60}"


def _unknown_key(key: str, section: type[BaseModel], root: type[BaseModel]) -> str:
    here = known_keys(section)
    if key == "pools" and "pool" in here:
        return "unknown key; a model has one pool, on one kind of device: use pool and device"
    homes = [
        path or "the top level" for path, elsewhere in _sections(root).items() if key in known_keys(elsewhere)
    ]
    if homes:
        return f"unknown key here; {key!r} belongs under {' or '.join(homes)}"
    near = difflib.get_close_matches(key, here, n=1, cutoff=0.6)
    if near:
        return f"unknown key; did you mean {near[0]!r}?"
    nearest = difflib.get_close_matches(key, here, n=1, cutoff=0.0)
    return f"unknown key; the nearest known one is {nearest[0]!r} (known: {', '.join(here)})"


def _section(location: Location, model: type[BaseModel]) -> type[BaseModel]:
    """Follow a location down to the section it names."""
    for part in location:
        if isinstance(part, str):
            field = next(f for name, f in model.model_fields.items() if (f.alias or name) == part)
            model = _model_in(field.annotation) or model
    return model


def _sections(model: type[BaseModel], path: str = "") -> dict[str, type[BaseModel]]:
    found = {path: model}
    for name, field in model.model_fields.items():
        inner = _model_in(field.annotation)
        if inner is not None:
            found |= _sections(inner, f"{path}.{name}".lstrip("."))
    return found


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)


def _is_union_arm(part: int | str) -> bool:
    """Pydantic adds the arm of a union to a location; it is no key of the job file."""
    return isinstance(part, str) and (
        part in ("int", "float", "str", "list[str]")
        or part.startswith(("literal[", "constrained-", "function-"))
    )


def _without_repeats(messages: list[str]) -> list[str]:
    """Join alternatives of a union: the value is quoted once."""
    if len(messages) < 2:
        return messages
    heads = [message.rpartition(", got ")[0] or message for message in messages[:-1]]
    return list(dict.fromkeys([*heads, messages[-1].removeprefix("expected ")]))
