"""Parquet: one split per row group; a unit is a range of its rows."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.errors import InputError, first_line
from corpusmill.pipeline.input.readers.int96 import CHECK_UNITS, UNIT, lost_timestamps
from corpusmill.pipeline.input.readers.rows import build_block, raw_row
from corpusmill.pipeline.input.unit_size import UnitSizing
from corpusmill.pipeline.input.units import Split
from corpusmill.pipeline.spec import InputSpec
from corpusmill.pipeline.storage import StoredFile, is_local, locate, open_binary

BUFFER = 1 << 20
"""Bytes that are read ahead per column; without a bound, whole columns of a row group are in memory."""
STORE_BUFFER = 16 << 20
"""The same for stores, whose clients fetch some megabytes more per request."""


class ParquetReader:
    """Reader of Parquet files; a row with a value that its column cannot hold is refused."""

    name = "parquet"

    def schema(self, file: StoredFile) -> pa.Schema:
        """Return the file's Arrow schema, from its footer."""
        with _open(file) as parquet:
            return parquet.schema_arrow

    def splits(
        self, file: StoredFile, columns: list[str], text: tuple[str, ...], sizing: UnitSizing
    ) -> list[Split]:
        """Return one split per row group that has rows, sized by the footer's own figures."""
        with _open(file) as parquet:
            metadata = parquet.metadata
        rows = sizing.rows(
            text_bytes=_bytes_per_row(metadata, text), row_bytes=_bytes_per_row(metadata, columns)
        )
        splits, first = [], 0
        for index in range(metadata.num_row_groups):
            count = metadata.row_group(index).num_rows
            if count:
                splits.append(Split(file, self.name, index, first, first + count, count, count, first, rows))
            first += count
        return splits

    def read(self, split: Split, spec: InputSpec, skip: frozenset[int]) -> Iterator[UnitBlock]:
        """Stream the row group, unit by unit."""
        with ExitStack() as opened:
            parquet = opened.enter_context(_open(split.file))
            names = _int96_columns(parquet, spec.columns)
            twins = [opened.enter_context(_open(split.file, unit)) for unit in CHECK_UNITS] if names else []
            checks = [_tables(twin, split, names) for twin in twins]
            for (offset, table), *others in zip(_tables(parquet, split, spec.columns), *checks, strict=True):
                if offset not in skip:
                    yield _block(split, offset, table, spec, [other for _, other in others])

    def count(self, split: Split) -> int:
        """Return the row group's row count as the file states it now."""
        with _open(split.file) as parquet:
            return int(parquet.metadata.row_group(split.index).num_rows)


def _open(file: StoredFile, int96_unit: str = UNIT) -> Any:
    try:
        return pq.ParquetFile(
            open_binary(file.url),
            pre_buffer=False,
            buffer_size=_buffer(file.url),
            coerce_int96_timestamp_unit=int96_unit,
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError, EOFError) as error:
        raise InputError(
            f"{file.url}: expected a complete Parquet file of {file.size} bytes, got one that cannot "
            f"be opened ({first_line(error)}); copy it again or leave it out"
        ) from None


def _buffer(url: str) -> int:
    return BUFFER if is_local(locate(url)[0]) else STORE_BUFFER


def _int96_columns(parquet: Any, names: list[str]) -> list[str]:
    """Return the named columns that contain INT96, at any depth."""
    leaves = [parquet.schema.column(i) for i in range(len(parquet.schema.names))]
    stored = [leaf.path for leaf in leaves if leaf.physical_type == "INT96"]
    return [name for name in names if any(_belongs(path, {name}) for path in stored)]


def _tables(parquet: Any, split: Split, names: list[str]) -> Iterator[tuple[int, pa.Table]]:
    """Stream some columns of the split, unit by unit."""
    batches = parquet.iter_batches(
        batch_size=split.rows_per_unit, row_groups=[split.index], columns=names, use_threads=False
    )
    return _regroup(_guard(batches, split), split.rows_per_unit)


def _guard(batches: Iterator[Any], split: Split) -> Iterator[Any]:
    """Replace pyarrow's error about a damaged page by one that names the file."""
    try:
        yield from batches
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{split.file.url}: row group {split.index} cannot be read ({first_line(error)}); "
            "the file is damaged: copy it again or leave it out"
        ) from None


def _block(
    split: Split, offset: int, table: pa.Table, spec: InputSpec, checks: Sequence[pa.Table]
) -> UnitBlock:
    """Return a unit's block; rows with values that the columns' types cannot hold are refused alone.

    `checks` are the INT96 columns in CHECK_UNITS. A row refused for them is shown in seconds, which never
    wrap.
    """
    lost = lost_timestamps(table, checks) if checks else {}
    refused = dict(lost)
    typed = _typed(table, split, spec, refused)
    in_seconds = _replaced(table, checks[0]) if lost else table
    shown = {
        row: (reason, raw_row(in_seconds if row in lost else table, row)) for row, reason in refused.items()
    }
    last = split.start + offset + table.num_rows == split.stop
    return build_block(split.unit(offset), typed, spec, last=last, refused=shown)


def _replaced(table: pa.Table, by: pa.Table) -> pa.Table:
    """Return the table with its columns replaced by those of another table, if that has them."""
    return pa.table({name: (by if name in by.column_names else table)[name] for name in table.column_names})


def _typed(table: pa.Table, split: Split, spec: InputSpec, refused: dict[int, str]) -> pa.Table:
    """Convert the columns to the types that all files of the job share.

    A value that the shared type cannot hold becomes null, and its row is noted in `refused`.
    """
    columns = []
    for field in spec.read_schema:
        column = table[field.name]
        try:
            columns.append(column if column.type == field.type else _cast(column, field, refused))
        except pa.ArrowException as error:
            raise InputError(
                f"{split.file.url}: column {field.name!r} is {column.type} here and {field.type} over all "
                f"files, and cannot be converted ({first_line(error)}); rewrite one of the files, or "
                "leave the column out of input.keep"
            ) from None
    return pa.table(columns, schema=spec.read_schema)


def _cast(column: pa.ChunkedArray, field: pa.Field, refused: dict[int, str]) -> pa.ChunkedArray:
    """Convert a column; values that do not fit become null, and their rows are refused."""
    try:
        return column.cast(field.type)
    except pa.ArrowInvalid:
        fitting: list[int | None] = list(range(len(column)))
    for row in range(len(column)):
        alone = column.take(pa.array([row]))  # not a slice: a cast slice of lists converts its neighbours too
        try:
            alone.cast(field.type)
        except pa.ArrowInvalid as error:
            fitting[row] = None
            refused.setdefault(
                row, f"column {field.name!r}: expected {field.type}, got {column.type} ({first_line(error)})"
            )
    return column.take(pa.array(fitting, pa.int64())).cast(field.type)


def _regroup(batches: Iterator[Any], size: int) -> Iterator[tuple[int, pa.Table]]:
    """Yield (offset, table) of `size` rows each, the last one of the rest, from batches of any size."""
    offset, held, rows = 0, [], 0
    for batch in batches:
        held.append(batch)
        rows += batch.num_rows
        while rows >= size:
            table = pa.Table.from_batches(held)
            yield offset, table.slice(0, size)
            offset, rows = offset + size, rows - size
            held = table.slice(size).to_batches()
    if rows:
        yield offset, pa.Table.from_batches(held)


def _bytes_per_row(metadata: Any, columns: list[str] | tuple[str, ...]) -> float:
    """Return the mean uncompressed bytes per row of the named columns, over all row groups."""
    names = set(columns)
    total = 0.0
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        chunks = (group.column(i) for i in range(group.num_columns))
        total += sum(c.total_uncompressed_size for c in chunks if _belongs(c.path_in_schema, names))
    return total / max(int(metadata.num_rows), 1)


def _belongs(path: str, names: set[str]) -> bool:
    """Return whether a leaf belongs to a named column; the name of a column may contain dots too."""
    return any(path == name or path.startswith(name + ".") for name in names)
