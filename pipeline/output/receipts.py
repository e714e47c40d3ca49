"""The accounting of a committed unit, in its data file and in the manifest."""

import hashlib
import json
import sys
from dataclasses import asdict, dataclass

import orjson

Line = str | bytes
METADATA_KEY = b"corpusmill"


@dataclass(frozen=True, slots=True)
class UnitRecord:
    """A unit's accounting in the metadata of its data file.

    `rows + rejected == rows_read`. `first_row` is the number of the unit's first row in the input file, None
    if it was not known. `tokens` is the sum over the job's models.
    """

    unit: str
    source: str
    offset: int
    first_row: int | None
    rows: int
    rejected: int
    rows_read: int
    tokens: int
    last: bool

    def to_metadata(self) -> dict[bytes, bytes]:
        """Return the schema metadata that carries the record."""
        return {METADATA_KEY: json.dumps(asdict(self), sort_keys=True).encode()}

    @classmethod
    def from_metadata(cls, metadata: dict[bytes, bytes]) -> "UnitRecord":
        """Read the record; KeyError, TypeError or ValueError if it is missing or incomplete."""
        return cls(**json.loads(metadata[METADATA_KEY]))


@dataclass(frozen=True, slots=True)
class Receipt:
    """A committed data file: its unit's record, its size in bytes and its SHA-256."""

    record: UnitRecord
    bytes: int
    checksum: str

    def to_line(self) -> str:
        """Return the receipt as one line of JSON."""
        return json.dumps({**asdict(self.record), "bytes": self.bytes, "checksum": self.checksum}) + "\n"

    @classmethod
    def from_line(cls, line: Line) -> "Receipt":
        """Read a receipt; AttributeError, KeyError, TypeError or ValueError if the line is none."""
        fields = orjson.loads(line)
        size, checksum = fields.pop("bytes"), fields.pop("checksum")
        # A driver may hold a million receipts with few different sources.
        fields["source"] = sys.intern(fields["source"])
        return cls(UnitRecord(**fields), size, checksum)


def checksum_of(content: bytes | memoryview) -> str:
    """Return the checksum of a file's content, as the manifest writes it."""
    return "sha256:" + hashlib.sha256(content).hexdigest()
