"""JSON lines, plain or compressed: a plain file is cut into byte ranges, a compressed one is a single split.

A row is a line that is not blank. It has to be a JSON object in UTF-8 whose values fit their columns,
otherwise this row alone is rejected. The rows of a unit depend on the file only.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice

import pyarrow as pa

from corpusmill.pipeline.blocks import Reject, UnitBlock
from corpusmill.pipeline.errors import InputError
from corpusmill.pipeline.input.listing import compression
from corpusmill.pipeline.input.readers.infer import infer_schema, is_object
from corpusmill.pipeline.input.readers.parse import parse_lines
from corpusmill.pipeline.input.readers.rows import build_block
from corpusmill.pipeline.input.readers.streams import chunks, lines
from corpusmill.pipeline.input.unit_size import UnitSizing
from corpusmill.pipeline.input.units import Split, Unit
from corpusmill.pipeline.spec import InputSpec
from corpusmill.pipeline.storage import StoredFile, open_binary

SPLIT_BYTES = 256 << 20
SAMPLE_LINES = 1000
SAMPLE_BYTES = 16 << 20
TYPICAL_RATIO = 4
"""Typical compression ratio of text, for estimates only."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class FirstRows:
    """The first rows of a file, an overlong one as b"", and whether the file has no others."""

    rows: list[bytes]
    whole: bool


class JsonlReader:
    """Reader of .jsonl, .ndjson and .json files of one object per line, plain or .gz .zst .bz2 .xz."""

    name = "jsonl"

    def schema(self, file: StoredFile) -> pa.Schema:
        """Infer the columns from the file's first lines; lines that cannot be parsed are ignored."""
        sample = self._first_rows(file).rows
        if sample and sample[0].lstrip()[:1] == b"[" and 2 * sum(map(is_object, sample)) < len(sample):
            raise InputError(
                f"{file.url}: expected one JSON object per line, got a file that begins with '['; "
                "a JSON array has to be rewritten as JSON lines first"
            )
        return infer_schema(sample)

    def splits(
        self, file: StoredFile, columns: list[str], text: tuple[str, ...], sizing: UnitSizing
    ) -> list[Split]:
        """Cut a plain file every SPLIT_BYTES; sizes come from the file's first lines."""
        del columns, text  # a line is in memory as a whole, whichever columns are read
        sample = self._first_rows(file)
        if not sample.rows:
            return []
        average = sum(map(len, sample.rows)) / len(sample.rows)
        rows = sizing.rows(text_bytes=average, row_bytes=average)
        if compression(file.url) or file.size <= SPLIT_BYTES:
            size = file.size * (TYPICAL_RATIO if compression(file.url) else 1)
            about = len(sample.rows) if sample.whole else round(size / (average + 1))
            return [Split(file, self.name, 0, 0, file.size, None, about, 0, rows)]
        return [
            Split(
                file,
                self.name,
                i,
                start,
                min(start + SPLIT_BYTES, file.size),
                None,
                round(SPLIT_BYTES / (average + 1)),
                0 if i == 0 else None,
                rows,
            )
            for i, start in enumerate(range(0, file.size, SPLIT_BYTES))
        ]

    def read(self, split: Split, spec: InputSpec, skip: frozenset[int]) -> Iterator[UnitBlock]:
        """Stream the split's rows, unit by unit; the lines of skipped units are not parsed."""
        # Row numbers in a later byte range need a count of all rows before it: once, and only for a reject.
        start = cache(lambda: self._rows_before(split))
        rows = _rows(split)
        offset, batch = 0, list(islice(rows, split.rows_per_unit))
        while batch:
            following = list(islice(rows, split.rows_per_unit))
            if offset not in skip:
                yield _block(split.unit(offset), batch, spec, start, last=not following)
            offset, batch = offset + len(batch), following

    def count(self, split: Split) -> int:
        """Return the number of rows of a split, by reading it."""
        return sum(1 for _ in _rows(split))

    def _rows_before(self, split: Split) -> int:
        return self.count(replace(split, start=0, stop=split.start))

    def _first_rows(self, file: StoredFile) -> FirstRows:
        taken: list[bytes] = []
        size = 0
        for row in _rows(Split(file, self.name, 0, 0, file.size, None, 0, 0, 1)):
            if len(taken) == SAMPLE_LINES or size >= SAMPLE_BYTES:
                return FirstRows(taken, whole=False)
            taken.append(row or b"")
            size += len(taken[-1])
        return FirstRows(taken, whole=True)


def _block(
    unit: Unit, batch: list[bytes | None], spec: InputSpec, start: Callable[[], int], *, last: bool
) -> UnitBlock:
    table, refused = parse_lines(batch, spec.read_schema)
    if refused and unit.first_row is None:
        unit = replace(unit, first_row=start() + unit.offset)
    first = unit.first_row or 0
    rejects = tuple(Reject(first + row, reason, raw) for row, reason, raw in refused)
    return build_block(unit, table, spec, last=last, rejects=rejects)


def _rows(split: Split) -> Iterator[bytes | None]:
    """Yield the lines that begin in the split and are not blank; None stands for a line that is too long."""
    with open_binary(split.file.url) as stream:
        position = max(split.start - 1, 0)
        stream.seek(position)
        found = lines(chunks(stream, compression(split.file.url), split.file.url))
        if split.start:
            # The rest of the line that holds the byte before the range belongs to the range before.
            position += next(found, (0, b""))[0]
        compressed = compression(split.file.url) is not None
        for size, line in found:
            if position >= split.stop and not compressed:
                return
            text = line.removeprefix(BYTE_ORDER_MARK) if line is not None and position == 0 else line
            if text is None or (not text.isspace() and text):
                yield text
            position += size
