"""Pydantic's errors as messages for users: the path of the field, what was expected, what was found."""

import difflib
import re
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from corpusmill.jobs.config.familiar_names import hint_of_key
from corpusmill.jobs.errors import Problem

Location = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """A validation error of the job file: its problem, its location, and pydantic's kind of error.

    `meant` are the fields that an unknown key probably stands for: their values are unknown too.
    """

    problem: Problem
    location: Location
    kind: str
    meant: tuple[str, ...] = ()


def explain(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """Turn all of a validation's errors into problems, one per field."""
    return [fault.problem for fault in faults(error, model)]


def faults(error: ValidationError, model: type[BaseModel]) -> list[Fault]:
    """Turn all of a validation's errors into faults, one per field.

    A missing field that an unknown key probably stands for is not reported a second time.
    """
    merged: dict[Location, list[tuple[str, str, tuple[str, ...]]]] = {}
    for details in error.errors(include_url=False):
        location = _location(details)
        text, meant = _message(details, location, model)
        merged.setdefault(location, []).append((str(details["type"]), text, meant))
    all_faults = [_fault(location, messages) for location, messages in merged.items()]
    all_meant = {field for fault in all_faults for field in fault.meant}
    return [fault for fault in all_faults if fault.kind != "missing" or fault.problem.field not in all_meant]


def _fault(location: Location, messages: list[tuple[str, str, tuple[str, ...]]]) -> Fault:
    text = " or ".join(_without_repeats([message for _, message, _ in messages]))
    return Fault(Problem(field_path(location), text), location, messages[0][0], messages[0][2])


def _location(details: Any) -> Location:
    """Return the location of an error in the job file; an unknown key is never an arm of a union."""
    *parents, last = details["loc"] or ("",)
    own_parts = [part for part in parents if not _is_union_arm(part)]
    return (*own_parts, *([] if _is_union_arm(last) and details["type"] != "extra_forbidden" else [last]))


def field_path(location: Location) -> str:
    """Return a location as users write it: models[0].dtype."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def known_keys(model: type[BaseModel]) -> list[str]:
    """Return the keys of a section, as the job file spells them."""
    return [field.alias or name for name, field in model.model_fields.items()]


def _message(details: Any, location: Location, model: type[BaseModel]) -> tuple[str, tuple[str, ...]]:
    """Return the message of an error, and the fields that were probably meant."""
    if details["type"] == "extra_forbidden":
        return _unknown_key(location, model)
    return _wrong_value(details, location), ()


def _wrong_value(details: Any, location: Location) -> str:
    kind, value = details["type"], details.get("input")
    if kind == "missing":
        return "is required"
    if kind == "value_error":
        return str(details["ctx"]["error"])
    if kind == "invalid_key":
        return f"expected keys that are text, got {location[-1]!r}"
    expected = re.sub(r"^\w+ should (be |have )?|( after validation)?, not \d+$", "", str(details["msg"]))
    return f"expected {expected}, got {value!r:.60}"


def _unknown_key(location: Location, root: type[BaseModel]) -> tuple[str, tuple[str, ...]]:
    key, parent = str(location[-1]), location[:-1]
    known = known_keys(section_at(parent, root))
    other_sections = [path for path, elsewhere in sections(root).items() if key in known_keys(elsewhere)]
    if other_sections:
        named = " or ".join(path or "the top level" for path in other_sections)
        meant = tuple(_in_entry(f"{path}.{key}".lstrip("."), parent) for path in other_sections)
        return f"unknown key here; {key!r} belongs under {named}", meant
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    if near and difflib.SequenceMatcher(None, key, near[0]).ratio() > CLEAR_SIMILARITY:
        return f"unknown key; did you mean {near[0]!r}?", (field_path((*parent, near[0])),)
    if hint := hint_of_key(key):
        field, words = hint
        return f"unknown key; {f'use {field}: ' if field else ''}{words}", _fields_meant(field, parent)
    if near:
        return f"unknown key; did you mean {near[0]!r}?", (field_path((*parent, near[0])),)
    nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
    return f"unknown key; the nearest known one is {nearest[0]!r} (known: {', '.join(known)})", ()


CLEAR_SIMILARITY = 0.9
"""From this similarity on, a key is a misspelled key of its section, whatever it means in other tools."""


def _fields_meant(field: str | None, parent: Location) -> tuple[str, ...]:
    return tuple(_in_entry(one.replace("[]", ""), parent) for one in (field or "").split(" or ") if one)


def _in_entry(field: str, parent: Location) -> str:
    """Return a field of `models` in the entry that holds the key; "models" if the key is in no entry."""
    if not field.startswith("models."):
        return field
    return field_path((*parent[:2], field.removeprefix("models."))) if parent[:1] == ("models",) else "models"


def section_at(location: Location, model: type[BaseModel]) -> type[BaseModel]:
    """Return the section at a location."""
    for part in location:
        if isinstance(part, str):
            field = field_of(part, model)
            model = (field and section_in(field.annotation)) or model
    return model


def field_of(key: str, section: type[BaseModel]) -> FieldInfo | None:
    """Return a section's field by its key in the job file."""
    return next((f for name, f in section.model_fields.items() if (f.alias or name) == key), None)


def sections(model: type[BaseModel], path: str = "") -> dict[str, type[BaseModel]]:
    """Return all sections by their paths, the outermost first."""
    by_path = {path: model}
    for name, field in model.model_fields.items():
        inner = section_in(field.annotation)
        if inner is not None:
            by_path |= sections(inner, f"{path}.{name}".lstrip("."))
    return by_path


def section_in(annotation: Any) -> type[BaseModel] | None:
    """Return the section that a field holds, or holds a list of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((section for part in get_args(annotation) if (section := section_in(part))), None)


def _is_union_arm(part: int | str) -> bool:
    """Return whether pydantic has added this part to a location: the arm of a union is no key of the file."""
    return isinstance(part, str) and (
        part in ("int", "float", "str", "list[str]")
        or part.startswith(("literal[", "constrained-", "function-"))
    )


def _without_repeats(messages: list[str]) -> list[str]:
    """Return the messages for a union's alternatives without duplicates; only the last quotes the value."""
    if len(messages) < 2:
        return messages
    heads = [message.rpartition(", got ")[0] or message for message in messages[:-1]]
    return list(dict.fromkeys([*heads, messages[-1].removeprefix("expected ")]))
