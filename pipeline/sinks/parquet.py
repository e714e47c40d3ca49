"""Parquet files."""

from collections.abc import Sequence
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq


class ParquetSink:
    """Writes one row group a file."""

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
