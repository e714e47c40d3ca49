"""Records of a job that grow line by line: appended to on a disk, in pieces on a store.

A store cannot append, and writing a record anew for each line would cost the square of its length. There a
record is a row of pieces, `<stem>-<time>-<number>.jsonl`: the last one is written anew every few seconds,
and a new one begun once it is large. A kill loses what those seconds brought; no record is the only place of
anything that counts.
"""

import time
from collections.abc import Iterator
from typing import BinaryIO

from corpusmill.pipeline.output import writes
from corpusmill.pipeline.output.folder import OutputFolder
from corpusmill.pipeline.storage import is_local, locate

INTERVAL = 10.0
PIECE = 1 << 20


class AppendLog:
    """One of the job's records, open for adding lines; `close` it, or the last lines may be missing."""

    def __init__(self, folder: OutputFolder, name: str) -> None:
        self._path = folder.job(name)
        self._local = is_local(locate(folder.url)[0])
        self._stem = f"{self._path.removesuffix('.jsonl')}-{time.time_ns():020d}"
        self._piece = 0
        self._lines: list[str] = []
        self._size = 0
        self._written = True
        self._next = 0.0

    def add(self, line: str) -> None:
        """Add a line, given with its line break."""
        if self._local:
            writes.append(self._path, line)
            return
        self._lines.append(line)
        self._size += len(line)
        self._written = False
        if time.monotonic() >= self._next:
            self._write()

    def close(self) -> None:
        """Write what is still held back."""
        if not self._written:
            self._write()

    def _write(self) -> None:
        writes.replace(f"{self._stem}-{self._piece:05d}.jsonl", "".join(self._lines).encode())
        self._written = True
        self._next = time.monotonic() + INTERVAL
        if self._size >= PIECE:
            self._lines, self._size, self._piece = [], 0, self._piece + 1


def record_lines(folder: OutputFolder, name: str) -> Iterator[bytes]:
    """Yield the complete lines of a record, of all its pieces in order; none where there is no record.

    A line may have been cut, or left as zeros, by a crash.
    """
    for path in _files(folder, name):
        with folder.open(path) as stream:
            yield from lines_of(stream)


def last_lines(folder: OutputFolder, name: str, size: int) -> list[bytes]:
    """Return the complete lines among the last bytes of a record's newest file; none where there is none."""
    for path in _files(folder, name)[-1:]:
        with folder.open(path) as stream:
            end = stream.seek(0, 2)
            stream.seek(max(0, end - size))
            lines = list(lines_of(stream))
        return lines[1:] if end > size else lines
    return []


def record_size(folder: OutputFolder, name: str) -> int:
    """Return the bytes of all of a record's files."""
    return sum(folder.size(path) for path in _files(folder, name))


def drop_records(folder: OutputFolder, name: str) -> None:
    """Take all of a record's files away."""
    for path in _files(folder, name):
        folder.remove(path)


def _files(folder: OutputFolder, name: str) -> list[str]:
    stem = name.removesuffix(".jsonl")
    names = folder.names("_job")
    pieces = [found for found in names if found.startswith(f"{stem}-") and found.endswith(".jsonl")]
    return [folder.job(found) for found in [name] * (name in names) + pieces]


def lines_of(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the complete lines of a record that may have been cut, or left as zeros, while it grew."""
    for line in stream:
        if line.endswith(b"\n"):
            yield line[:-1]
