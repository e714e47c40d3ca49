"""From a table of columns to a unit's block: kept columns, texts, and rejects for invalid rows."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from corpusmill.pipeline.blocks import Reject, UnitBlock
from corpusmill.pipeline.errors import BadRow, first_line
from corpusmill.pipeline.input.arrow_types import is_list_of_text
from corpusmill.pipeline.input.units import Unit
from corpusmill.pipeline.spec import InputSpec

RAW_LIMIT = 2**20
"""Largest number of characters of a rejected row, so that one row cannot fill a disk."""


def build_block(
    unit: Unit,
    table: pa.Table,
    spec: InputSpec,
    *,
    last: bool,
    rejects: tuple[Reject, ...] = (),
    refused: Mapping[int, tuple[str, str]] = MappingProxyType({}),
) -> UnitBlock:
    """Return the block of a unit, from its readable rows and those already rejected.

    `refused` are rows of the table that the reader cannot use: row → (reason, raw row). Texts become plain
    `large_string` columns (or lists of them) named `text` and `text_pair`. A row with text that is not UTF-8,
    or with another value that its type does not allow, is rejected; with `on_bad_row: fail` it raises BadRow.
    """
    rows_read = table.num_rows + len(rejects)
    invalid = {row: (why, raw_row(table, row)) for row, why in invalid_rows(table).items()} | dict(refused)
    if invalid:
        first = unit.first_row or 0
        rejects = (*rejects, *(Reject(first + row, *found) for row, found in invalid.items()))
        table = without_rows(table, sorted(invalid))
    fail_on_rejects(unit, rejects, spec)
    kept = table.select(list(spec.keep)).combine_chunks()
    texts = {"text": table[spec.text], **({"text_pair": table[spec.text_pair]} if spec.text_pair else {})}
    inputs = pa.table({name: _plain_string(column) for name, column in texts.items()})
    return UnitBlock(unit, kept, inputs, tuple(sorted(rejects, key=lambda r: r.row)), rows_read, last)


def fail_on_rejects(unit: Unit, rejects: tuple[Reject, ...], spec: InputSpec) -> None:
    """Raise BadRow for the first reject, with `on_bad_row: fail`."""
    if rejects and spec.on_bad_row == "fail":
        first = min(rejects, key=lambda reject: reject.row)
        raise BadRow(
            f"{unit.source}: row {first.row}: {first.reason}; correct the row, or set "
            "input.on_bad_row: reject to write such rows to rejects/"
        )


def invalid_rows(table: pa.Table) -> dict[int, str]:
    """Return the rows with a value, at any depth, that its type does not allow: row → reason.

    Examples are text that is not UTF-8, a decimal with too many digits, a time beyond its day. Files contain
    such values, Arrow does not check them on reading, and writes some of them as other values.
    """
    found: dict[int, str] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            for row in range(table.num_rows):
                if row not in found and (why := _why_invalid(column, row)):
                    found[row] = f"column {name!r}: {why}"
    return found


def raw_row(table: pa.Table, row: int) -> str:
    """Return a row as JSON, with escapes for invalid UTF-8, cut at RAW_LIMIT characters."""
    values: dict[str, Any] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        values[name] = _json_value(column[row])
    return json.dumps(values, ensure_ascii=False, default=str)[:RAW_LIMIT]


def without_rows(table: pa.Table, rows: list[int]) -> pa.Table:
    """Return a table without some rows, given in order; by slices, as Arrow cannot filter every type."""
    starts, stops = [0, *(row + 1 for row in rows)], [*rows, table.num_rows]
    return pa.concat_tables(
        [table.slice(start, stop - start) for start, stop in zip(starts, stops, strict=True)]
    )


def _why_invalid(column: pa.ChunkedArray, row: int) -> str | None:
    if not _decodes(column[row]):
        return "not valid UTF-8"
    if pa.types.is_dictionary(column.type):
        return None  # a single row still has the whole dictionary, with the values of other rows
    try:
        column.take(pa.array([row])).validate(full=True)
    except pa.ArrowNotImplementedError:
        return None  # a type that Arrow cannot take from
    except pa.ArrowInvalid as error:
        return first_line(error).rpartition("Invalid: ")[2]
    return None


def _decodes(cell: pa.Scalar) -> bool:
    try:
        cell.as_py()
    except UnicodeDecodeError:
        return False
    except (ValueError, OverflowError):
        return True  # a time that Python's own types cannot hold
    return True


def _json_value(cell: pa.Scalar) -> Any:
    """Return a value for JSON; if Python cannot represent it, text with escapes or a time as a number."""
    try:
        return cell.as_py()
    except (ValueError, OverflowError):
        pass
    if pa.types.is_temporal(cell.type):
        return f"{cell.value} as {cell.type}"
    return _escaped_value(cell)


def _escaped_value(cell: pa.Scalar) -> Any:
    """Return a value that contains invalid UTF-8, with escapes."""
    if isinstance(cell, pa.DictionaryScalar):
        return _json_value(cell.value)
    if isinstance(cell, pa.StructScalar):
        return {name: _json_value(cell[name]) for name in cell.type.names}
    if isinstance(cell, pa.ListScalar) and not isinstance(cell, pa.MapScalar):
        return [_json_value(item) for item in cell]
    if isinstance(cell, pa.StringScalar):
        return cell.as_buffer().to_pybytes().decode("utf-8", "backslashreplace")
    return f"{cell.type} that holds invalid UTF-8"


def _plain_string(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return texts as `large_string`, so that a unit of long documents never overflows 32-bit offsets."""
    if is_list_of_text(column.type):
        return pc.cast(column, pa.list_(pa.large_string()))
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    return pc.cast(column, pa.large_string())
