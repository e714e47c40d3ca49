"""Blocks: the data of one unit in the pipeline, and the one-row table into which a block is packed.

To Ray Data a unit is a single row. So it can neither be split nor merged with another unit, Ray does not
convert the column types of the corpus, and a target block size of one byte makes every unit a block.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from corpusmill.pipeline.input.units import Unit

TABLE = "table:"
"""Prefix of the names of the columns with a block's tables."""


@dataclass(frozen=True, slots=True)
class Reject:
    """An input row that could not be used; `row` is its number in the file, from 0."""

    row: int
    reason: str
    raw: str


@dataclass(frozen=True)
class UnitBlock:
    """The data of one unit: kept columns, model inputs, and rejects.

    `kept` and `inputs` have the same number of rows, in input order. `inputs` has texts, and after
    tokenization the numbers of the distinct texts in `tables`. `rows_read` counts the input rows including
    rejects. `last` marks the last unit of its split. `tokens` counts the tokens of each tokenization. With
    `error`, the unit could not be read and has no rows. `seconds` has the seconds of each stage.
    """

    unit: Unit
    kept: pa.Table
    inputs: pa.Table
    rejects: tuple[Reject, ...] = ()
    rows_read: int = 0
    last: bool = False
    tokens: dict[str, int] | None = None
    error: str | None = None
    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)

    def with_seconds(self, stage: str, seconds: float) -> "UnitBlock":
        """Return the block with the seconds of a stage."""
        return replace(self, seconds={**self.seconds, stage: seconds})

    @property
    def rows(self) -> int:
        """The number of rows that go to the output."""
        return int(self.inputs.num_rows)

    def part(self, start: int, stop: int) -> "UnitBlock":
        """Return the block of some of the rows for a model; it cannot be committed."""
        count = stop - start
        return replace(self, kept=self.kept.slice(start, count), inputs=self.inputs.slice(start, count))

    def tokenized(
        self, inputs: pa.Table, tables: Mapping[str, pa.Table], tokens: dict[str, int]
    ) -> "UnitBlock":
        """Return the block with numbers of distinct texts in place of texts, and with their tokens."""
        return replace(self, inputs=inputs, tables=tables, tokens=tokens)

    def summary(self) -> "UnitSummary":
        """Return the summary of this block for the driver."""
        tokens = self.tokens or {}
        return UnitSummary(
            self.unit, self.rows, len(self.rejects), dict(tokens), self.error, dict(self.seconds)
        )


@dataclass(frozen=True, slots=True)
class UnitSummary:
    """A unit's name and sizes, without its rows."""

    unit: Unit
    rows: int
    rejected: int
    tokens: dict[str, int]
    error: str | None
    seconds: Mapping[str, float] = field(default_factory=dict)


def failed_block(unit: Unit, error: str) -> UnitBlock:
    """Return the block of a unit that could not be read or tokenized."""
    empty = pa.table({})
    return UnitBlock(unit, empty, empty, error=error)


def pack_block(block: UnitBlock) -> pa.Table:
    """Pack a block into one row: `header` as JSON; `kept`, `inputs` and each table as Arrow IPC streams."""
    header: dict[str, Any] = {
        "unit": [block.unit.name, block.unit.source, block.unit.offset, block.unit.first_row],
        "rejects": [[reject.row, reject.reason, reject.raw] for reject in block.rejects],
        "rows_read": block.rows_read,
        "rows": block.rows,
        "last": block.last,
        "tokens": block.tokens,
        "error": block.error,
        "seconds": dict(block.seconds),
    }
    columns = {
        "header": pa.array([json.dumps(header)], pa.large_string()),
        "kept": _to_ipc(block.kept),
        "inputs": _to_ipc(block.inputs),
        **{f"{TABLE}{name}": _to_ipc(table) for name, table in block.tables.items()},
    }
    return pa.table(columns)


def unpack_block(row: pa.Table) -> UnitBlock:
    """Unpack the block from a one-row table; its columns are views of the row's buffers."""
    header = json.loads(row["header"][0].as_py())
    return UnitBlock(
        unit=Unit(*header["unit"]),
        kept=_from_ipc(row["kept"]),
        inputs=_from_ipc(row["inputs"]),
        rejects=tuple(Reject(*reject) for reject in header["rejects"]),
        rows_read=header["rows_read"],
        last=header["last"],
        tokens=header["tokens"],
        error=header["error"],
        tables={
            name.removeprefix(TABLE): _from_ipc(row[name])
            for name in row.column_names
            if name.startswith(TABLE)
        },
        seconds=header["seconds"],
    )


def unpack_summary(row: pa.Table) -> UnitSummary:
    """Return a packed block's summary without reading its rows."""
    header = json.loads(row["header"][0].as_py())
    return UnitSummary(
        Unit(*header["unit"]),
        header["rows"],
        len(header["rejects"]),
        header["tokens"] or {},
        header["error"],
        header["seconds"],
    )


def _to_ipc(table: pa.Table) -> pa.Array:
    """Return a large_binary array of one value: the table as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    stream = sink.getvalue()
    offsets = pa.array([0, stream.size], pa.int64()).buffers()[1]
    return pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, stream])


def _from_ipc(column: pa.ChunkedArray) -> pa.Table:
    return pa.ipc.open_stream(column[0].as_buffer()).read_all()
