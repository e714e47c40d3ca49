"""Rows that a model could not take: removed from the results of all models, and written as rejects.

A tokenized unit has its texts only for tasks that cut spans out of them. So the `raw` of such a reject has
the kept columns, and the text only if it is kept or needed for spans; `file` and `row` identify the input
row.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from corpusmill.pipeline.blocks import Reject, UnitBlock
from corpusmill.pipeline.input.readers import READERS
from corpusmill.pipeline.input.readers.rows import fail_on_rejects, raw_row, without_rows
from corpusmill.pipeline.input.units import Split, Unit
from corpusmill.pipeline.spec import InputSpec


@dataclass(frozen=True, slots=True)
class ResultPart:
    """The columns of one work item: those of the unit's rows from `start` on."""

    start: int
    columns: pa.Table


def join_result_parts(parts: Sequence[ResultPart], refused: Collection[int]) -> pa.Table:
    """Join the parts of a model's result in row order, without the refused rows."""
    ordered = sorted(parts, key=lambda part: (part.start, part.columns.num_rows))
    if len(ordered) == 1 and not refused:
        return ordered[0].columns
    tables = []
    for part in ordered:
        stop = part.start + part.columns.num_rows
        inside = sorted(row - part.start for row in refused if part.start <= row < stop)
        tables.append(without_rows(part.columns, inside))
    return pa.concat_tables(tables).unify_dictionaries()


def reject_rows(block: UnitBlock, refused: Mapping[int, str], split: Split, spec: InputSpec) -> UnitBlock:
    """Turn rows of a block (row of the block → reason) into rejects; BadRow with `on_bad_row: fail`."""
    if not refused:
        return block
    unit = _numbered(block.unit, split)
    rows = sorted(refused)
    in_file = _rows_in_file(block, unit.first_row or 0)
    shown = _remaining_columns(block, rows, spec)
    found = tuple(
        Reject(int(in_file[row]), refused[row], raw_row(shown, place)) for place, row in enumerate(rows)
    )
    fail_on_rejects(unit, found, spec)
    return replace(
        block,
        unit=unit,
        kept=without_rows(block.kept, rows),
        inputs=without_rows(block.inputs, rows),
        rejects=tuple(sorted((*block.rejects, *found), key=lambda reject: reject.row)),
    )


def _numbered(unit: Unit, split: Split) -> Unit:
    """Return the unit with the number of its first row in the file, counted if it is unknown."""
    if unit.first_row is not None:
        return unit
    before = READERS[split.format].count(replace(split, start=0, stop=split.start))
    return replace(unit, first_row=before + unit.offset)


def _rows_in_file(block: UnitBlock, first: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Return the row number in the file of each row of the block; rows rejected before are skipped."""
    read = np.arange(first, first + block.rows_read)
    return read[~np.isin(read, [reject.row for reject in block.rejects])]


def _remaining_columns(block: UnitBlock, rows: Sequence[int], spec: InputSpec) -> pa.Table:
    """Return what the block still has of some rows: kept columns, and the text if it is not among them."""
    columns = dict(zip(block.kept.column_names, block.kept.columns, strict=True))
    if "text" in block.tables and spec.text not in columns:
        columns[spec.text] = block.tables["text"]["text"].take(block.inputs["text"].combine_chunks())
    table = pa.table(columns)
    return pa.concat_tables([table.slice(row, 1) for row in rows])  # Arrow cannot take from every type
