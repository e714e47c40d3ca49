"""From JSON lines to a table of a known schema; a line that does not fit is refused alone."""

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from corpusmill.pipeline.errors import first_line
from corpusmill.pipeline.input.readers.streams import MAX_LINE

Refused = tuple[int, str, str]
"""(position in the batch, reason, the line as text)"""

RAW_LIMIT = 2**20


class Inexact(int):
    """A whole number beyond 64 bits that no double represents exactly."""


def parse_lines(batch: Sequence[bytes | None], schema: pa.Schema) -> tuple[pa.Table, list[Refused]]:
    """Parse a batch of lines; return a table of the accepted lines in order, and the refused lines.

    Fields that are not in the schema are ignored; a missing field is null. No value is coerced: a number
    becomes text, or text a date, only if the schema has that type. A float column takes the nearest float of
    a fraction, but refuses a whole number that it would round, and a number beyond its range.
    """
    fields = [(field.name, field.type, _python_types(field.type)) for field in schema]
    floats = [name for name, kind, _ in fields if _holds_floats(kind)]
    records: list[dict[str, Any]] = []
    positions: list[int] = []
    refused: list[Refused] = []
    for position, line in enumerate(batch):
        record, reason = _load(line, floats)
        if record is not None:
            reason = _misfit_of(record, fields)
        if reason is None and record is not None:
            records.append(record)
            positions.append(position)
        else:
            refused.append((position, reason or "", line_as_text(line)))
    columns: dict[str, pa.Array] = {}
    for name, kind, _ in fields:
        columns[name], bad = _column([record.get(name) for record in records], kind)
        if bad:
            # Rare: values of the right Python type that the column cannot hold. Refuse them, and parse again.
            reasons = {positions[i]: f"column {name!r}: {why}" for i, why in bad.items()}
            kept = [None if p in reasons else line for p, line in enumerate(batch)]
            table, others = parse_lines(kept, schema)
            named = [(p, reasons.get(p, why), line_as_text(batch[p])) for p, why, _ in others]
            return table, named
    return pa.table(columns, schema=schema), refused


def line_as_text(line: bytes | None) -> str:
    """Return a line as text, with escapes for invalid UTF-8, cut at RAW_LIMIT characters."""
    return "" if line is None else line[: 4 * RAW_LIMIT].decode("utf-8", "backslashreplace")[:RAW_LIMIT]


def _load(line: bytes | None, floats: Sequence[str]) -> tuple[dict[str, Any] | None, str | None]:
    if line is None:
        return None, f"line longer than {MAX_LINE >> 20} MiB"
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return None, _why_not_json(line, error)
    if not isinstance(record, dict):
        return None, f"expected a JSON object, got {_json_name(record)}"
    if any(_holds_long(record.get(name)) for name in floats):
        try:
            record = json.loads(line, parse_int=_whole)
        except RecursionError:
            return None, "nested too deeply for its long numbers to be read"
    return record, None


def _holds_floats(kind: pa.DataType) -> bool:
    inner = any(_holds_floats(kind.field(i).type) for i in range(kind.num_fields))
    return bool(pa.types.is_floating(kind)) or inner


def _holds_long(value: Any) -> bool:
    """Return whether a value may contain a whole number beyond 64 bits, which orjson reads as a double."""
    if isinstance(value, float):
        return abs(value) >= 2**63
    if isinstance(value, (list, dict)):
        return any(map(_holds_long, value.values() if isinstance(value, dict) else value))
    return False


def _whole(digits: str) -> int | float:
    """Return a whole number like orjson, as a double beyond 64 bits; Inexact if the double is not exact."""
    value = int(digits)
    if -(2**63) <= value < 2**64:
        return value
    return float(value) if float(value) == value else Inexact(value)


def _why_not_json(line: bytes, error: orjson.JSONDecodeError) -> str:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as broken:
        return f"not valid UTF-8 at byte {broken.start}"
    return f"not JSON: {error}"


def _misfit_of(
    record: dict[str, Any], fields: list[tuple[str, pa.DataType, tuple[type, ...] | None]]
) -> str | None:
    for name, kind, accepted in fields:
        value = record.get(name)
        if value is None or accepted is None:
            continue
        if type(value) not in accepted:
            return f"column {name!r}: expected {kind}, got {_json_name(value)}"
        if kind.num_fields and (inside := _misfit(value, kind)):
            return f"column {name!r}: {inside} inside it"
        if pa.types.is_floating(kind) and (why := _overflow(value, kind)):
            return f"column {name!r}: {why}"
    return None


def _misfit(value: Any, kind: pa.DataType) -> str | None:
    """Return what does not fit at any depth; Arrow would convert true and 1.0 to 1, and text to a list."""
    accepted = _python_types(kind)
    if value is None or accepted is None:
        return None
    if type(value) not in accepted:
        return f"expected {kind}, got {_json_name(value)}"
    if pa.types.is_floating(kind):
        return _overflow(value, kind)
    if pa.types.is_struct(kind):
        return next(filter(None, (_misfit(value.get(field.name), field.type) for field in kind)), None)
    return (
        next(filter(None, (_misfit(item, kind.value_type) for item in value)), None)
        if kind.num_fields
        else None
    )


def _overflow(value: float, kind: pa.DataType) -> str | None:
    """Return why a narrow float cannot hold a number that Arrow would convert to another one or infinity."""
    if pa.types.is_float64(kind):
        return None  # numbers of JSON are doubles; Arrow refuses whole numbers that a double would round
    with np.errstate(over="ignore"):
        held = float(kind.to_pandas_dtype()(value))
    if math.isinf(held) or (type(value) is int and held != value):
        return f"expected {kind}, got {value!r:.80}, which it cannot hold"
    return None


def _python_types(kind: pa.DataType) -> tuple[type, ...] | None:
    """Return the Python types that a column of this type takes; None if only Arrow can decide."""
    if pa.types.is_boolean(kind):
        return (bool,)
    if pa.types.is_integer(kind):
        return (int,)
    if pa.types.is_floating(kind):
        return (int, float)
    if (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or _is_written_as_text(kind)
    ):
        return (str,)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return (list,)
    return (dict,) if pa.types.is_struct(kind) else None


def _is_written_as_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_temporal(kind) or pa.types.is_decimal(kind) or pa.types.is_dictionary(kind))


def _column(values: list[Any], kind: pa.DataType) -> tuple[pa.Array, dict[int, str]]:
    """Build a column; return it, or the values that it cannot hold with the reasons."""
    try:
        return _build(values, kind), {}
    except (pa.ArrowException, TypeError, OverflowError, ValueError):
        return None, {i: why for i, value in enumerate(values) if (why := _why_not(value, kind))}


def _why_not(value: Any, kind: pa.DataType) -> str | None:
    try:
        _build([value], kind)
    except (pa.ArrowException, TypeError, OverflowError, ValueError) as error:
        shown = _json_name(value) if isinstance(value, (list, dict)) else f"{value!r:.80}"
        return f"expected {kind}, got {shown} ({first_line(error)})"
    return None


def _build(values: list[Any], kind: pa.DataType) -> pa.Array:
    written = _as_written(kind)
    return pa.array(values, kind) if written == kind else pa.array(values, written).cast(kind)


def check_readable(kind: pa.DataType) -> None:
    """Refuse a type to which no JSON value can be converted, with a ValueError."""
    for i in range(kind.num_fields):
        check_readable(kind.field(i).type)
    try:
        _build([], kind)
    except pa.ArrowNotImplementedError:
        raise ValueError(
            f"{kind} cannot be read from JSON lines; expected a type of text, numbers, booleans, dates or "
            "timestamps: read the column as string or int64"
        ) from None


def _as_written(kind: pa.DataType) -> pa.DataType:
    """Replace types that JSON represents as text by string, at any depth."""
    if pa.types.is_list(kind):
        return pa.list_(_as_written(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _as_written(field.type)) for field in kind])
    return pa.string() if _is_written_as_text(kind) else kind


def _json_name(value: Any) -> str:
    names = {
        str: "a string",
        bool: "a boolean",
        int: "a number",
        float: "a number",
        Inexact: "a whole number that no double is exactly",
        list: "an array",
        dict: "an object",
    }
    return names.get(type(value), "null")
