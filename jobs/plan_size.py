"""How large an output will be: some sampled rows are encoded and written as a data file, in memory."""

from collections.abc import Sequence

import pyarrow as pa

from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.commit import data_file
from corpusmill.pipeline.encode import Encoder
from corpusmill.pipeline.receipts import UnitRecord
from corpusmill.pipeline.spec import OutputSpec

ROWS = 64
"""Rows that are encoded: what compression makes of them is near what it makes of a unit."""


class OutputSize:
    """Gathers what each model makes of the same few rows."""

    def __init__(self, blocks: Sequence[UnitBlock], output: OutputSpec) -> None:
        filled = [block for block in blocks if block.rows]
        self._block = filled[0].part(0, min(ROWS, filled[0].rows)) if filled else None
        self._output = output
        self._results: list[pa.Table] = []

    def add(self, encoder: Encoder) -> None:
        """Let a model encode the rows."""
        if self._block is not None:
            self._results.append(encoder.encode(self._block).columns)

    def of(self, rows: int, units: int) -> int:
        """Return the bytes of so many rows in so many files."""
        if self._block is None:
            return 0
        columns = [column for table in (self._block.kept, *self._results) for column in table.columns]
        fields = [field for table in (self._block.kept, *self._results) for field in table.schema]
        table = pa.table(columns, schema=pa.schema(fields))
        empty, filled = self._bytes(table.slice(0, 0)), self._bytes(table)
        return int(units * empty + (filled - empty) / max(table.num_rows, 1) * rows)

    def _bytes(self, table: pa.Table) -> int:
        name = self._block.unit.name if self._block is not None else ""
        record = UnitRecord(name, "", 0, 0, table.num_rows, 0, table.num_rows, 0, False)
        return int(data_file(table, record, self._output).nbytes)
