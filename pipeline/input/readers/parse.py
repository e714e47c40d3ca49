"""JSON lines to a table of a known schema; a line that does not fit is set aside alone."""

from collections.abc import Sequence
from typing import Any

import orjson
import pyarrow as pa

from corpusmill.pipeline.errors import first_line
from corpusmill.pipeline.input.readers.streams import MAX_LINE

Refused = tuple[int, str, str]
"""(position in the batch, reason, the line as text)"""

RAW_LIMIT = 2**20


def parse_lines(batch: Sequence[bytes | None], schema: pa.Schema) -> tuple[pa.Table, list[Refused]]:
    """Parse a batch of lines; the table holds the accepted ones in order.

    Fields that the schema does not name are not read; a missing field is null. No value is coerced: a
    number never becomes text, nor text a date, unless the schema says that type.
    """
    fields = [(field.name, field.type, _python_types(field.type)) for field in schema]
    records: list[dict[str, Any]] = []
    positions: list[int] = []
    refused: list[Refused] = []
    for position, line in enumerate(batch):
        record, reason = _load(line)
        if record is not None:
            reason = _misfit_of(record, fields)
        if reason is None and record is not None:
            records.append(record)
            positions.append(position)
        else:
            refused.append((position, reason or "", show(line)))
    columns: dict[str, pa.Array] = {}
    for name, kind, _ in fields:
        columns[name], bad = _column([record.get(name) for record in records], kind)
        if bad:
            # Rare: values of the right Python type that the column cannot hold. Refuse those, start over.
            reasons = {positions[i]: f"column {name!r}: {why}" for i, why in bad.items()}
            kept = [None if p in reasons else line for p, line in enumerate(batch)]
            table, others = parse_lines(kept, schema)
            named = [(p, reasons.get(p, why), show(batch[p])) for p, why, _ in others]
            return table, named
    return pa.table(columns, schema=schema), refused


def show(line: bytes | None) -> str:
    """Show a line as text, invalid UTF-8 as escapes, cut at RAW_LIMIT characters."""
    return "" if line is None else line[: 4 * RAW_LIMIT].decode("utf-8", "backslashreplace")[:RAW_LIMIT]


def _load(line: bytes | None) -> tuple[dict[str, Any] | None, str | None]:
    if line is None:
        return None, f"line longer than {MAX_LINE >> 20} MiB"
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return None, _why_not_json(line, error)
    if not isinstance(record, dict):
        return None, f"expected a JSON object, got {_json_name(record)}"
    return record, None


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
    return None


def _misfit(value: Any, kind: pa.DataType) -> str | None:
    """Say what does not fit at any depth: Arrow alone would make 1 of true and 1.0, and a list of a text."""
    accepted = _python_types(kind)
    if value is None or accepted is None:
        return None
    if type(value) not in accepted:
        return f"expected {kind}, got {_json_name(value)}"
    if pa.types.is_struct(kind):
        return next(filter(None, (_misfit(value.get(field.name), field.type) for field in kind)), None)
    return (
        next(filter(None, (_misfit(item, kind.value_type) for item in value)), None)
        if kind.num_fields
        else None
    )


def _python_types(kind: pa.DataType) -> tuple[type, ...] | None:
    """Return the Python types whose values a column of this type takes; None where only Arrow can tell."""
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
    """Build a column, or say which values it cannot hold."""
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


def _as_written(kind: pa.DataType) -> pa.DataType:
    """Replace types that JSON writes as text by text, at any depth."""
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
        list: "an array",
        dict: "an object",
    }
    return names.get(type(value), "null")
