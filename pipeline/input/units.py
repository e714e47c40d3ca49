"""Splits and units: ranges of rows of input files, with the same names in every run.

A *split* is the part of a file that one reading task streams: a Parquet row group, a byte range of a plain
JSONL file, or a whole compressed file. A *unit* is a range of `rows_per_unit` rows of a split; it is read,
encoded and committed as a whole. A unit's name is made of a hash of the file's identity (path, size,
modification mark) and of counters, so it is the same on every machine and in every attempt.
"""

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property

from corpusmill.pipeline.storage import StoredFile


@dataclass(frozen=True)
class Split:
    """The `index`-th part of a file, `[start, stop)`, which one reading task streams.

    `start` and `stop` count rows of the file for Parquet, bytes for JSONL. `rows` is exact if the format
    states it (Parquet), else None; `about_rows` is the best estimate. `first_row` is the number of the
    split's first row in the file, None if the rows before it would have to be counted.
    """

    file: StoredFile
    format: str
    index: int
    start: int
    stop: int
    rows: int | None
    about_rows: int
    first_row: int | None
    rows_per_unit: int

    @property
    def about_units(self) -> int:
        """The number of units, estimated from `about_rows`; exact if `rows` is known."""
        return math.ceil(self.about_rows / self.rows_per_unit)

    @cached_property
    def key(self) -> str:
        """The prefix that names all units of this split."""
        identity = "\0".join((self.file.url, str(self.file.size), self.file.mark))
        digest = hashlib.blake2b(identity.encode(), digest_size=8).hexdigest()
        return f"{digest}-{self.index:05d}"

    def unit(self, offset: int) -> "Unit":
        """Return the unit that begins `offset` rows into the split."""
        first_row = None if self.first_row is None else self.first_row + offset
        return Unit(f"{self.key}-{offset:09d}-{self.rows_per_unit}", self.file.url, offset, first_row)

    def offset_of(self, unit_name: str) -> int | None:
        """Return the offset of the unit with this name in the split; None if the split has no such unit."""
        offset = unit_name.removeprefix(self.key + "-").partition("-")[0]
        return int(offset) if offset.isdecimal() and self.unit(int(offset)).name == unit_name else None


@dataclass(frozen=True, slots=True)
class Unit:
    """A range of rows of one input file, and the name of its output file.

    `offset` counts from the start of the split; `first_row` is the row number in the file, None until known.
    """

    name: str
    source: str
    offset: int
    first_row: int | None


def split_key(unit_name: str) -> str:
    """Return the key of the split that a unit of this name belongs to."""
    return unit_name.rsplit("-", 2)[0]
