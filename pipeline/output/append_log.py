"""Logs of a job that grow line by line: one file on a disk, several files on a store.

A store cannot append, and rewriting the whole log for each line would take quadratic time. There a log has
several files, `<stem>-<time>-<number>.jsonl`. The last file is rewritten every INTERVAL seconds, and a new
one starts when it exceeds FILE_SIZE bytes. A kill loses the lines of the last seconds; the job does not
depend on them.
"""

import time
from collections.abc import Iterator
from typing import BinaryIO

from corpusmill.pipeline.output import writes
from corpusmill.pipeline.output.folder import OutputFolder
from corpusmill.pipeline.storage import is_local, locate

INTERVAL = 10.0
FILE_SIZE = 1 << 20


class AppendLog:
    """A log of the job, open for new lines; without `close` the last lines may be missing."""

    def __init__(self, folder: OutputFolder, name: str) -> None:
        self._path = folder.job(name)
        self._local = is_local(locate(folder.url)[0])
        self._stem = f"{self._path.removesuffix('.jsonl')}-{time.time_ns():020d}"
        self._file_number = 0
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
        """Write the lines that are not written yet."""
        if not self._written:
            self._write()

    def _write(self) -> None:
        writes.replace(f"{self._stem}-{self._file_number:05d}.jsonl", "".join(self._lines).encode())
        self._written = True
        self._next = time.monotonic() + INTERVAL
        if self._size >= FILE_SIZE:
            self._lines, self._size, self._file_number = [], 0, self._file_number + 1


def record_lines(folder: OutputFolder, name: str) -> Iterator[bytes]:
    """Yield the complete lines of a log, from all its files in order; none if there is no log.

    A line may be cut, or consist of zeros, after a crash.
    """
    for path in _files(folder, name):
        with folder.open(path) as stream:
            yield from lines_of(stream)


def last_lines(folder: OutputFolder, name: str, size: int) -> list[bytes]:
    """Return the complete lines among the last `size` bytes of a log's newest file; none without a log."""
    for path in _files(folder, name)[-1:]:
        with folder.open(path) as stream:
            end = stream.seek(0, 2)
            stream.seek(max(0, end - size))
            lines = list(lines_of(stream))
        return lines[1:] if end > size else lines
    return []


def record_size(folder: OutputFolder, name: str) -> int:
    """Return the bytes of all files of a log."""
    return sum(folder.size(path) for path in _files(folder, name))


def drop_records(folder: OutputFolder, name: str) -> None:
    """Remove all files of a log."""
    for path in _files(folder, name):
        folder.remove(path)


def _files(folder: OutputFolder, name: str) -> list[str]:
    stem = name.removesuffix(".jsonl")
    names = folder.names("_job")
    parts = [found for found in names if found.startswith(f"{stem}-") and found.endswith(".jsonl")]
    return [folder.job(found) for found in [name] * (name in names) + parts]


def lines_of(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the complete lines of one file of a log; they may consist of zeros after a crash."""
    for line in stream:
        if line.endswith(b"\n"):
            yield line[:-1]
