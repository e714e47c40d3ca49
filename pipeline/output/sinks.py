"""Output formats: from a table to the bytes of a file, and back.

SINKS is the whole registry: a new format is one class here and one line below.
"""

from collections.abc import Sequence
from typing import BinaryIO, Protocol

import pyarrow as pa
import pyarrow.parquet as pq


class Sink(Protocol):
    """An output format, as the commit uses it; the same table gives the same bytes."""

    @property
    def suffix(self) -> str:
        """The suffix of its files' names."""

    @property
    def codecs(self) -> tuple[str, ...]:
        """The supported compressions."""

    def write(self, table: pa.Table, stream: BinaryIO, compression: str | None) -> None:
        """Write a whole file, with the table's schema metadata."""

    def schema(self, stream: BinaryIO) -> pa.Schema:
        """Read the schema of a file with its metadata, without its rows."""

    def read(self, stream: BinaryIO, columns: Sequence[str] | None = None) -> pa.Table:
        """Read a whole file, or only some of its columns."""


# Arrow IPC files (Feather V2), which Arrow, Polars, pandas and DuckDB open without conversion.


class ArrowSink:
    """Sink that writes one record batch per file."""

    suffix = ".arrow"
    codecs = ("zstd", "lz4", "none")

    def write(self, table: pa.Table, stream: BinaryIO, compression: str | None) -> None:
        """Write the file."""
        options = pa.ipc.IpcWriteOptions(compression=compression)
        with pa.ipc.new_file(stream, table.schema, options=options) as writer:
            writer.write_table(_compact(table.combine_chunks()))

    def schema(self, stream: BinaryIO) -> pa.Schema:
        """Read the schema from the footer."""
        return pa.ipc.open_file(stream).schema

    def read(self, stream: BinaryIO, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the file."""
        if columns is None:
            return pa.ipc.open_file(stream).read_all()
        names = self.schema(stream).names
        chosen = pa.ipc.IpcReadOptions(included_fields=[names.index(name) for name in columns])
        return pa.ipc.open_file(stream, options=chosen).read_all()


# Parquet files.


class ParquetSink:
    """Sink that writes one row group per file."""

    suffix = ".parquet"
    codecs = ("zstd", "snappy", "gzip", "lz4", "brotli", "none")

    def write(self, table: pa.Table, stream: BinaryIO, compression: str | None) -> None:
        """Write the file."""
        pq.write_table(
            table, stream, compression=compression or "none", row_group_size=max(table.num_rows, 1)
        )

    def schema(self, stream: BinaryIO) -> pa.Schema:
        """Read the schema from the footer."""
        return pq.ParquetFile(stream).schema_arrow

    def read(self, stream: BinaryIO, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the file."""
        return pq.ParquetFile(stream).read(columns)


def _compact(table: pa.Table) -> pa.Table:
    """Copy views of text into one buffer: the original buffers depend on how the table was read."""
    for index, field in enumerate(table.schema):
        if pa.types.is_string_view(field.type):
            table = table.set_column(
                index, field, table.column(index).cast(pa.large_string()).cast(field.type)
            )
    return table


SINKS: dict[str, Sink] = {
    "arrow": ArrowSink(),
    "parquet": ParquetSink(),
}
