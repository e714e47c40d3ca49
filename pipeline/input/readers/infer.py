"""Column types of JSON lines, from the values of a sample; the content of text is not interpreted."""

from collections.abc import Iterable
from typing import Any

import orjson
import pyarrow as pa

CONFLICT = b"conflict"
"""Key of a field's metadata: the types found, if no single type covers them."""

UNSEEN = b"unseen"
"""Key of a field's metadata: part of its type is `null`, as no value was found; other files may have one."""
MAX_DEPTH = 32
"""Deepest nesting of a column; Arrow's own readers stop at 64."""


class TypeConflict(Exception):  # noqa: N818
    """The values of a column that have no common lossless type, or are nested too deeply."""


def infer_schema(lines: Iterable[bytes]) -> pa.Schema:
    """Return the columns of the parseable lines, in order of appearance.

    Strings stay strings (a text like a date is text), whole numbers are int64, other numbers double. If no
    single type covers the values, or there are none, the field's metadata states it.
    """
    types: dict[str, pa.DataType] = {}
    conflicts: dict[str, str] = {}
    for line in lines:
        for name, value in _fields(line):
            try:
                types[name] = merge(types.setdefault(name, pa.null()), type_of(value))
            except TypeConflict as conflict:
                conflicts.setdefault(name, str(conflict))
    return pa.schema([_field(name, kind, conflicts.get(name)) for name, kind in types.items()])


def _field(name: str, kind: pa.DataType, conflict: str | None) -> pa.Field:
    if conflict is not None:
        return pa.field(name, kind, metadata={CONFLICT: conflict})
    return pa.field(name, kind, metadata=None if null_as_string(kind) == kind else {UNSEEN: b""})


def type_of(value: Any, depth: int = 0) -> pa.DataType:
    """Return the Arrow type of one JSON value."""
    if depth > MAX_DEPTH:
        raise TypeConflict(f"values nested more than {MAX_DEPTH} deep")
    if isinstance(value, dict):
        return pa.struct([(key, type_of(item, depth + 1)) for key, item in value.items()])
    if isinstance(value, list):
        kind = pa.null()
        for item in value:
            kind = merge(kind, type_of(item, depth + 1))
        return pa.list_(kind)
    scalars = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
    return scalars.get(type(value), pa.null())


def merge(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    """Return the common type of both; whole numbers widen to double, other types are not converted."""
    if a == b or pa.types.is_null(b):
        return a
    if pa.types.is_null(a):
        return b
    if {a, b} == {pa.int64(), pa.float64()}:
        return pa.float64()
    if pa.types.is_list(a) and pa.types.is_list(b):
        return pa.list_(merge(a.value_type, b.value_type))
    if pa.types.is_struct(a) and pa.types.is_struct(b):
        names = list(dict.fromkeys(field.name for kind in (a, b) for field in kind))
        return pa.struct([(name, merge(_member(a, name), _member(b, name))) for name in names])
    raise TypeConflict(f"{a} and {b}")


def _member(kind: pa.DataType, name: str) -> pa.DataType:
    index = kind.get_field_index(name)
    return kind.field(index).type if index >= 0 else pa.null()


def is_object(line: bytes) -> bool:
    """Return whether a line is a JSON object."""
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False


def _fields(line: bytes) -> Iterable[tuple[str, Any]]:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return ()
    return record.items() if isinstance(record, dict) else ()


def null_as_string(kind: pa.DataType) -> pa.DataType:
    """Replace `null` (no value found) by string, at any depth."""
    if pa.types.is_null(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(null_as_string(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, null_as_string(field.type)) for field in kind])
    return kind
