"""Validation of a job file: all faults of its form, and the job without the faulty parts."""

import copy
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from corpusmill.jobs.config.explain import Fault, Location, faults, field_of, field_path, section_in
from corpusmill.jobs.errors import Problem, is_within

S = TypeVar("S", bound=BaseModel)
STAND_INS: dict[str, Any] = {
    "input": {"path": "?", "text": "?"},
    "models": [{"checkpoint": "?"}],
    "output": {"path": "?"},
    "device": "cpu",
}
"""Values for required fields that are missing or wrong, "?" for the others; no job uses them."""
MAX_ROUNDS = 12
"""Checks of a whole section run only if its fields are valid, so a later round may find new faults."""


@dataclass(frozen=True, slots=True)
class Reading(Generic[S]):
    """The content of a job file: the job, all faults of its form, and the fields whose values are unknown.

    `job` is None if nothing can be read. With faults it has defaults and stand-ins in `unread` fields.
    """

    job: S | None
    problems: tuple[Problem, ...]
    unread: frozenset[str]


def read_fields(fields: dict[str, Any], root: type[S], *, unread: Iterable[str] = ()) -> Reading[S]:
    """Validate the fields of a job, again and again without the faulty ones, until no fault is left."""
    remaining_fields = copy.deepcopy(fields)
    problems: list[Problem] = []
    unread_fields = set(unread)
    for _ in range(MAX_ROUNDS):
        try:
            return Reading(root.model_validate(remaining_fields), tuple(problems), frozenset(unread_fields))
        except ValidationError as error:
            new_faults = faults(error, root)
        problems += [
            fault.problem for fault in new_faults if not _is_unread(fault.problem.field, unread_fields)
        ]
        for fault in new_faults:
            unread_fields |= {
                *_unread_field(fault, root),
                *(field for field in fault.meant if not _has_value(field, fields)),
            }
            _repair(remaining_fields, fault, root)
    return Reading(None, tuple(problems), frozenset(unread_fields))


def _is_unread(field: str, unread: set[str]) -> bool:
    return any(is_within(field, other) for other in unread)


def _has_value(field: str, fields: dict[str, Any]) -> bool:
    """Return whether the file has a value for a field: then an unknown key does not stand for it."""
    node: Any = fields
    for part in re.findall(r"[^.\[\]]+", field):
        try:
            node = node[int(part) if isinstance(node, list) else part]
        except (KeyError, IndexError, TypeError, ValueError):
            return False
    return True


def _unread_field(fault: Fault, root: type[BaseModel]) -> set[str]:
    """Return the field whose value is unknown because of a fault; an unknown key is no field."""
    return set() if fault.kind == "extra_forbidden" else {field_path(_field(fault.location, root))}


def _field(location: Location, root: type[BaseModel]) -> Location:
    """Return the location of the innermost field or list entry that contains a location."""
    section = root
    for i, part in enumerate(location):
        if isinstance(part, str):
            field = field_of(part, section)
            inner = None if field is None else section_in(field.annotation)
            if inner is None:
                return location[: i + 1]
            section = inner
    return location


def _repair(fields: dict[str, Any], fault: Fault, root: type[BaseModel]) -> None:
    """Remove a faulty part, or replace it by a stand-in if the job requires it."""
    *parents, last = _field(fault.location, root)
    node: Any = fields
    section = root
    try:
        for part in parents:
            node = node[part]
            if isinstance(part, str):
                section = section_in(getattr(field_of(part, section), "annotation", None)) or section
    except (KeyError, IndexError, TypeError):
        return  # an outer part was repaired before
    if isinstance(node, list) and isinstance(last, int):
        node[last] = {key: STAND_INS.get(key, "?") for key in _required(section)}
    elif fault.kind == "invalid_key":
        for key in [key for key in node if not isinstance(key, str)]:
            del node[key]
    elif last in _required(section):
        node[last] = copy.deepcopy(STAND_INS.get(str(last), "?"))
    else:
        node.pop(last, None)


def _required(section: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in section.model_fields.items() if field.is_required()]
