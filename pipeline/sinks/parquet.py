"""Parquet files."""

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

    def metadata(self, stream: BinaryIO) -> dict[bytes, bytes]:
        """Read the schema's metadata from the footer."""
        return dict(pq.ParquetFile(stream).schema_arrow.metadata or {})

    def read(self, stream: BinaryIO) -> pa.Table:
        """Read the file."""
        return pq.ParquetFile(stream).read()
