"""The documentation of the job file's fields: path, values, default and meaning."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from corpusmill.jobs.config.explain import section_in
from corpusmill.jobs.config.schema import JobConfig

NAMES = {str: "text", int: "integer", float: "number", bool: "`true` or `false`", NoneType: "`null`"}


@dataclass(frozen=True, slots=True)
class JobField:
    """A field: its path such as `models[].dtype`, its allowed values, and its default as YAML.

    `default` is None for a required field and for a section.
    """

    path: str
    values: str
    default: str | None
    required: bool
    section: bool
    description: str


def job_fields(section: type[BaseModel] = JobConfig, path: str = "") -> Iterator[JobField]:
    """Yield all fields in the order of the job file, a section before its fields."""
    for name, field in section.model_fields.items():
        key = f"{path}{field.alias or name}"
        inner = section_in(field.annotation)
        is_list = inner is not None and not _is_section(field.annotation)
        yield JobField(
            path=key,
            values=("list of sections" if is_list else "section")
            if inner
            else values_of(_type_with_bounds(field)),
            default=None if inner or field.is_required() else _default(field),
            required=field.is_required(),
            section=inner is not None,
            description=field.description or "",
        )
        if inner is not None:
            yield from job_fields(inner, f"{key}{'[]' if is_list else ''}.")


def values_of(annotation: Any) -> str:
    """Return the values that a type allows, in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        bounds = _bounds(arguments[1:])
        return _values_with_bounds(values_of(arguments[0]), bounds)
    if origin in (Union, UnionType):
        return _alternatives([values_of(part) for part in arguments])
    if origin is Literal:
        return _alternatives([f"`{part}`" for part in arguments])
    if origin is list:
        return f"list of {values_of(arguments[0])}"
    if origin is dict:
        return f"mapping of {values_of(arguments[0])} to {values_of(arguments[1])}"
    return NAMES[annotation]


def _values_with_bounds(values: str, bounds: str) -> str:
    """Return the values with the bounds behind the kind of number."""
    return re.sub(r"^(integer|number)\b(?! from)", rf"\1{bounds}", values) if bounds else values


def _alternatives(parts: list[str]) -> str:
    """Return the alternatives in one text; an integer beside a number is left out."""
    kept = [
        part for part in dict.fromkeys(parts) if not (part.startswith("integer") and _number(part) in parts)
    ]
    return ", ".join(kept[:-1]) + " or " + kept[-1] if len(kept) > 1 else kept[0]


def _number(integer: str) -> str:
    return integer.replace("integer", "number", 1)


def _bounds(metadata: tuple[Any, ...]) -> str:
    limits = []
    for part in metadata:
        for bound in getattr(part, "metadata", [part]):
            match bound:
                case annotated_types.Ge():
                    limits.append(f"from {bound.ge}")
                case annotated_types.Gt():
                    limits.append(f"above {bound.gt}")
                case annotated_types.Le():
                    limits.append(f"to {bound.le}")
    return f" {' '.join(limits)}" if limits else ""


def _type_with_bounds(field: FieldInfo) -> Any:
    """Return a field's type with its bounds: pydantic stores those of the outermost type separately."""
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def _default(field: FieldInfo) -> str:
    """Return the default as it is written in the file; a word needs no quotes."""
    default = field.get_default(call_default_factory=True)
    return default if isinstance(default, str) else json.dumps(default)


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
