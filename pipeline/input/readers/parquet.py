"""Parquet: one split per row group; a unit is a range of its rows."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.errors import InputError, first_line
from corpusmill.pipeline.input.readers.rows import build_block
from corpusmill.pipeline.input.unit_size import UnitSizing
from corpusmill.pipeline.input.units import Split
from corpusmill.pipeline.spec import InputSpec
from corpusmill.pipeline.storage import StoredFile, is_local, locate, open_binary

BUFFER = 1 << 20
"""Bytes of each column read ahead: without a bound, a row group's columns are held as a whole."""
STORE_BUFFER = 16 << 20
"""The same on stores, whose clients fetch some megabytes more at each request."""


class ParquetReader:
    """Reader of Parquet files; rows are refused only for text that is not valid UTF-8."""

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
        with _open(split.file) as parquet:
            batches = parquet.iter_batches(
                batch_size=split.rows_per_unit,
                row_groups=[split.index],
                columns=spec.columns,
                use_threads=False,
            )
            for offset, table in _regroup(_guard(batches, split), split.rows_per_unit):
                if offset not in skip:
                    last = split.start + offset + table.num_rows == split.stop
                    yield build_block(split.unit(offset), _typed(table, split, spec), spec, last=last)

    def count(self, split: Split) -> int:
        """Return the row group's row count as the file states it now."""
        with _open(split.file) as parquet:
            return int(parquet.metadata.row_group(split.index).num_rows)


def _open(file: StoredFile) -> Any:
    try:
        return pq.ParquetFile(open_binary(file.url), pre_buffer=False, buffer_size=_buffer(file.url))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError, EOFError) as error:
        raise InputError(
            f"{file.url}: expected a complete Parquet file of {file.size} bytes, got one that cannot "
            f"be opened ({first_line(error)}); copy it again or leave it out"
        ) from None


def _buffer(url: str) -> int:
    return BUFFER if is_local(locate(url)[0]) else STORE_BUFFER


def _guard(batches: Iterator[Any], split: Split) -> Iterator[Any]:
    """Turn what pyarrow says of a damaged page into an error that names the file."""
    try:
        yield from batches
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{split.file.url}: row group {split.index} cannot be read ({first_line(error)}); "
            "the file is damaged: copy it again or leave it out"
        ) from None


def _typed(table: pa.Table, split: Split, spec: InputSpec) -> pa.Table:
    """Bring the columns to the types that all files of the job share."""
    columns = []
    for field in spec.read_schema:
        column = table[field.name]
        try:
            columns.append(column if column.type == field.type else column.cast(field.type))
        except pa.ArrowException as error:
            raise InputError(
                f"{split.file.url}: column {field.name!r} is {column.type}, with other files {field.type}, "
                f"which cannot hold all its values ({first_line(error)}); rewrite one of the files, or "
                "leave the column out of input.keep"
            ) from None
    return pa.table(columns, schema=spec.read_schema)


def _regroup(batches: Iterator[Any], size: int) -> Iterator[tuple[int, pa.Table]]:
    """Yield (offset, table) of exactly `size` rows but for the last, whatever sizes pyarrow delivers."""
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
    """Average uncompressed bytes of the named columns, over all row groups."""
    names = set(columns)
    total = 0.0
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        chunks = (group.column(i) for i in range(group.num_columns))
        total += sum(c.total_uncompressed_size for c in chunks if _belongs(c.path_in_schema, names))
    return total / max(int(metadata.num_rows), 1)


def _belongs(path: str, names: set[str]) -> bool:
    """Say whether a leaf belongs to a named column; a column's own name may hold dots too."""
    return any(path == name or path.startswith(name + ".") for name in names)
