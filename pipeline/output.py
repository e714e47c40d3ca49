"""The output folder: the one place that knows its file names, and how a file appears in it.

A file appears whole or not at all. On this machine's disks it is written under a unique temporary name,
synced, and renamed; on an object store it is one put. Temporary names begin with a dot and never match
what readers of the output look for.
"""

import os
import posixpath
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from corpusmill.pipeline.errors import OutputError
from corpusmill.pipeline.sinks import SINKS
from corpusmill.pipeline.storage import absolute, is_local, locate, sync_path


@dataclass(frozen=True, slots=True)
class OutputFolder:
    """An output folder by absolute URL, and the suffix of its data files."""

    url: str
    suffix: str

    @classmethod
    def of(cls, url: str, output_format: str) -> "OutputFolder":
        """Return the folder that a job's `output` section names."""
        return cls(absolute(url), SINKS[output_format].suffix)

    def data(self, unit: str) -> str:
        """Path of a unit's data file; its presence is the unit's commit."""
        return self._join("data", unit + self.suffix)

    def rejects(self, unit: str) -> str:
        """Path of a unit's rejected rows; there before the data file, absent where none was rejected."""
        return self._join("rejects", unit + ".jsonl")

    @property
    def manifest(self) -> str:
        """Path of the table of all data files, written last."""
        return self._join("_manifest.parquet")

    def job(self, name: str) -> str:
        """Path of one of the job's own records."""
        return self._join("_job", name)

    def committed(self) -> set[str]:
        """Names of the units whose data file is there."""
        return {name.removesuffix(self.suffix) for name in self.names("data") if name.endswith(self.suffix)}

    def names(self, folder: str) -> list[str]:
        """Names of the visible files in `data`, `rejects`, or at the top (""), sorted; none if not there."""
        fs, root = locate(self.url)
        path = posixpath.join(root, folder) if folder else root
        try:
            fs.invalidate_cache()
            found = [posixpath.basename(name) for name in fs.ls(path, detail=False)]
        except FileNotFoundError:
            return []
        except NotADirectoryError:
            raise OutputError(f"{self.url}: expected a folder, got a file; choose another output.path").at(
                "output.path"
            ) from None
        except OSError as error:
            raise OutputError(
                f"{path}: cannot be listed ({error.strerror or error}); check the path and the rights to it"
            ).at("output.path") from error
        return sorted(name for name in found if name and not name.startswith("."))

    def exists(self, path: str) -> bool:
        """Say whether a file of the output is there."""
        fs, inner = locate(path)
        return bool(fs.exists(inner))

    def read(self, path: str) -> bytes:
        """Return a file's bytes."""
        fs, inner = locate(path)
        with fs.open(inner, "rb") as stream:
            return cast(bytes, stream.read())

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading."""
        fs, inner = locate(path)
        return cast(BinaryIO, fs.open(inner, "rb"))

    def put(self, path: str, content: bytes | memoryview) -> None:
        """Make a file appear with this content, or replace it, in one step that survives a power cut."""
        fs, inner = locate(path)
        with _writing(path):
            if is_local(fs):
                _replace_durably(inner, content)
            else:
                fs.pipe_file(inner, bytes(content))

    def append(self, path: str, text: str) -> None:
        """Add text to a record of the job; on a store that cannot append, rewrite it."""
        fs, inner = locate(path)
        with _writing(path):
            if is_local(fs):
                os.makedirs(os.path.dirname(inner), exist_ok=True)
                with open(inner, "a", encoding="utf-8") as stream:
                    stream.write(text)
            else:
                before = self.read(path) if self.exists(path) else b""
                fs.pipe_file(inner, before + text.encode())

    def _join(self, *parts: str) -> str:
        return posixpath.join(self.url, *parts)


def lines_of(content: bytes) -> Iterator[str]:
    """Yield the complete lines of a record that may have been cut, or left as zeros, while it grew."""
    for line in content.split(b"\n")[:-1]:
        yield line.decode("utf-8", "replace")


@contextmanager
def _writing(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or error}); free space or rights are needed "
            "there, then run the same command again"
        ).at("output.path") from error


def _replace_durably(path: str, content: Any) -> None:
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, f".{os.path.basename(path)}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
    sync_path(folder)
