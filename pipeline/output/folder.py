"""The output folder: its file names, and how a file appears in it; no other module knows them.

Temporary names begin with a dot, so that readers of the output ignore them.
"""

import posixpath
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar, cast

from corpusmill.pipeline.errors import OutputError
from corpusmill.pipeline.output import writes
from corpusmill.pipeline.output.sinks import SINKS
from corpusmill.pipeline.storage import (
    absolute,
    advice,
    is_local,
    is_permanent,
    locate,
    reason_of,
    with_retries,
)

T = TypeVar("T")


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
        """Return the path of a unit's data file; its presence is the unit's commit."""
        return self._join("data", unit + self.suffix)

    def rejects(self, unit: str) -> str:
        """Return the path of a unit's rejects: written before the data file, absent if there are none."""
        return self._join("rejects", unit + ".jsonl")

    @property
    def manifest(self) -> str:
        """The path of the table of all data files, written last."""
        return self._join("_manifest.parquet")

    def job(self, name: str) -> str:
        """Return the path of one of the job's own files."""
        return self._join("_job", name)

    def committed(self) -> set[str]:
        """Return the names of the units that have a data file."""
        return {name.removesuffix(self.suffix) for name in self.names("data") if name.endswith(self.suffix)}

    def sizes(self) -> dict[str, int]:
        """Return the size of each committed unit's data file in bytes."""
        entries = self._entries("data", detail=True)
        return {
            name.removesuffix(self.suffix): int(entry["size"])
            for entry in entries
            if (name := posixpath.basename(entry["name"])).endswith(self.suffix) and not name.startswith(".")
        }

    def names(self, folder: str) -> list[str]:
        """Return the sorted names of the visible files in `data`, `rejects` or the top folder ("")."""
        found = [posixpath.basename(name) for name in self._entries(folder, detail=False)]
        return sorted(name for name in found if name and not name.startswith("."))

    def _entries(self, folder: str, *, detail: bool) -> list[Any]:
        fs, root = locate(self.url)
        path = posixpath.join(root, folder) if folder else root
        try:
            return cast(list[Any], with_retries(fs, lambda: fs.ls(path, detail=detail)))
        except FileNotFoundError:
            return []
        except NotADirectoryError:
            raise OutputError(f"{self.url}: expected a folder, got a file; choose another output.path").at(
                "output.path"
            ) from None
        except Exception as error:  # clients of stores raise exceptions of their own
            failed = OutputError(
                f"{path}: cannot be listed ({reason_of(error)}); {advice(fs)}, then "
                "run the same command again"
            )
            raise (failed.at("output.path") if is_permanent(error) else failed) from error

    def exists(self, path: str) -> bool:
        """Return whether a file of the output exists."""
        try:
            # Not `fs.exists`: for many stores it returns False after any failure.
            self._asked(path, lambda fs, inner: fs.info(inner))
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def size(self, path: str) -> int:
        """Return a file's size in bytes; FileNotFoundError if there is none."""
        return self._asked(path, lambda fs, inner: int(fs.size(inner)))

    def read(self, path: str) -> bytes:
        """Return a file's bytes; FileNotFoundError if there is none."""
        return self._asked(path, lambda fs, inner: cast(bytes, fs.cat_file(inner)))

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading."""
        return self._asked(path, lambda fs, inner: cast(BinaryIO, fs.open(inner, "rb")))

    def put(self, path: str, content: bytes | memoryview) -> None:
        """Create or replace a file with this content."""
        writes.replace(path, content)

    def create(self, path: str, content: bytes | memoryview) -> bool:
        """Create a file with this content; return False without a change if it exists already."""
        return writes.create(path, content)

    def remove(self, path: str) -> None:
        """Remove one of the job's own files, or the rejects of an unfinished unit, if it exists."""
        if self.exists(path):
            self._asked(path, lambda fs, inner: fs.rm_file(inner))

    def sweep(self) -> None:
        """Remove the temporary files of killed processes; only the owner of the folder may call this."""
        fs, root = locate(self.url)
        for folder in ("", "data", "rejects", "_job") if is_local(fs) else ():
            writes.sweep(posixpath.join(root, folder))

    def _asked(self, path: str, ask: Callable[[Any, str], T]) -> T:
        """Call the file system; a failure is an OutputError, whichever exception the client raises."""
        fs, inner = locate(path)
        try:
            return with_retries(fs, lambda: ask(fs, inner))
        except (FileNotFoundError, NotADirectoryError):
            raise
        except Exception as error:
            raise OutputError(
                f"{path}: cannot be read ({reason_of(error)}); {advice(fs)}, then run the same command again"
            ) from error

    def _join(self, *parts: str) -> str:
        return posixpath.join(self.url, *parts)
