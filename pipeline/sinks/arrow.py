"""Arrow IPC files (Feather V2): opened without conversion by Arrow, Polars, pandas and DuckDB."""

from collections.abc import Sequence
from typing import BinaryIO

import pyarrow as pa


class ArrowSink:
    """Writes one record batch a file."""

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


def _compact(table: pa.Table) -> pa.Table:
    """Give views of text one buffer of their own: those they came with depend on how the table was read."""
    for index, field in enumerate(table.schema):
        if pa.types.is_string_view(field.type):
            table = table.set_column(
                index, field, table.column(index).cast(pa.large_string()).cast(field.type)
            )
    return table
