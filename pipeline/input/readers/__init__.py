"""Input formats, one file each: file → splits at plan time, split → unit blocks on a reading task.

READERS is the whole registry: a new format is one file here and one line below.
"""

from collections.abc import Iterator
from typing import Protocol

import pyarrow as pa

from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.input.readers.jsonl import JsonlReader
from corpusmill.pipeline.input.readers.parquet import ParquetReader
from corpusmill.pipeline.input.unit_size import UnitSizing
from corpusmill.pipeline.input.units import Split
from corpusmill.pipeline.spec import InputSpec
from corpusmill.pipeline.storage import StoredFile


class Reader(Protocol):
    """An input format, as the plan and the reading tasks use it."""

    name: str

    def schema(self, file: StoredFile) -> pa.Schema:
        """Return the columns of a file; an unreadable file is an InputError."""

    def splits(
        self, file: StoredFile, columns: list[str], text: tuple[str, ...], sizing: UnitSizing
    ) -> list[Split]:
        """Cut a file into splits, one per reading task; an empty file has none."""

    def read(self, split: Split, spec: InputSpec, skip: frozenset[int]) -> Iterator[UnitBlock]:
        """Yield the units of a split in order, with texts in `inputs`, without the offsets in `skip`."""

    def count(self, split: Split) -> int:
        """Return the number of input rows of a split, by reading it if necessary."""


READERS: dict[str, Reader] = {
    "parquet": ParquetReader(),
    "jsonl": JsonlReader(),
}
