"""Output formats, one file each: a table to the bytes of a file, and back.

SINKS is the whole registry: a new format is one file here and one line below.
"""

from collections.abc import Sequence
from typing import BinaryIO, Protocol

import pyarrow as pa

from corpusmill.pipeline.sinks.arrow import ArrowSink
from corpusmill.pipeline.sinks.parquet import ParquetSink


class Sink(Protocol):
    """What the commit asks of a format. The same table gives the same bytes."""

    @property
    def suffix(self) -> str:
        """The ending of its files' names."""

    @property
    def codecs(self) -> tuple[str, ...]:
        """The compressions it knows."""

    def write(self, table: pa.Table, stream: BinaryIO, compression: str | None) -> None:
        """Write a whole file, the table's schema metadata included."""

    def schema(self, stream: BinaryIO) -> pa.Schema:
        """Read a file's schema, with its metadata, without its rows."""

    def read(self, stream: BinaryIO, columns: Sequence[str] | None = None) -> pa.Table:
        """Read a whole file, or only these of its columns."""


SINKS: dict[str, Sink] = {
    "arrow": ArrowSink(),
    "parquet": ParquetSink(),
}
