"""This node's copies of checkpoints: a folder per digest, and a note per URL of what the URL held.

A folder appears complete, by a rename. Its digest is checked at each use, and a damaged folder is fetched
again. A lock per URL lets one process of a node fetch at a time.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from corpusmill.pipeline.checkpoints.download import FileFilter, Listing, fetch
from corpusmill.pipeline.errors import InputError


@dataclass(frozen=True, slots=True)
class FileSelection:
    """The files of a checkpoint that are fetched, and the function that computes their digest."""

    takes: FileFilter
    digest: Callable[[Path], str]


@dataclass(frozen=True, slots=True)
class CacheNote:
    """The content of a URL when it was last fetched: a source for exactly this content, and its digest.

    `listing` is None for the hub.
    """

    source: str
    digest: str
    listing: Listing | None


def cached(digest: str, wanted: FileSelection) -> Path | None:
    """Return the folder of a digest if it exists and is undamaged."""
    folder = cache_folder() / digest
    return folder if folder.is_dir() and wanted.digest(folder) == digest else None


class CacheEntry:
    """The cache's files of one URL; every method except `locked` needs its lock."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stem = cache_folder() / f".{hashlib.sha256(url.encode()).hexdigest()[:32]}"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of this URL, after the other processes of this node that use it."""
        try:
            with cache_lock(self._stem.with_suffix(".lock")):
                yield
        except OSError as error:
            raise InputError(
                f"{cache_folder()}: the cache of checkpoints cannot be used ({error.strerror or error}); set "
                "CORPUSMILL_CACHE to a folder with free space"
            ) from error

    def note(self) -> CacheNote | None:
        """Read the note; None if there is none, or a damaged one."""
        try:
            found: Any = json.loads(self._stem.with_suffix(".json").read_text(encoding="utf-8"))
            listing = found["listing"] and {
                str(name): (int(size), str(mark)) for name, (size, mark) in found["listing"].items()
            }
            return CacheNote(str(found["source"]), str(found["digest"]), listing)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def write(self, note: CacheNote) -> None:
        """Replace the note."""
        content = {"url": self._url, "source": note.source, "digest": note.digest, "listing": note.listing}
        partial = self._stem.with_suffix(".tmp")
        partial.write_text(json.dumps(content, indent=1), encoding="utf-8")
        partial.replace(self._stem.with_suffix(".json"))

    def fetch(self, source: str, wanted: FileSelection, expected: str | None = None) -> tuple[Path, str]:
        """Fetch into the cache; return the folder, named by its digest, and the URL of exactly these files.

        Files whose digest is not the expected one are an InputError.
        """
        partial = self._stem.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)  # left by a process that was killed
        partial.mkdir()
        try:
            accept = (lambda folder: wanted.digest(folder) == expected) if expected else None
            source = fetch(source, partial, wanted.takes, accept)
            found = wanted.digest(partial)
            if expected not in (None, found):
                raise InputError(
                    f"{source}: expected the files that the job was started with (digest {expected}), found "
                    f"others ({found}); restore them, or start a new job with another output.path"
                )
            return cached(found, wanted) or _put_in_place(partial, cache_folder() / found), source
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def cache_lock(lock: Path) -> Iterator[None]:
    """Hold a lock file of the cache, after the other processes of this node that use it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        yield


def cache_folder() -> Path:
    """Return the folder of this node's cache; it may not exist yet."""
    chosen = os.environ.get("CORPUSMILL_CACHE") or "~/.cache/corpusmill/checkpoints"
    return Path(chosen).expanduser().resolve()


def _put_in_place(partial: Path, folder: Path) -> Path:
    """Move a complete folder into place of a damaged one, whose open files stay readable."""
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.old")
    if folder.is_dir():
        folder.rename(aside)
    try:
        partial.rename(folder)
    except OSError:
        if not folder.is_dir():  # another node with the same cache may have been first
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder
