"""Files by URL: a local path, or anything fsspec knows (s3://, hf://, memory://, ...)."""

import functools
import os
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from corpusmill.pipeline.errors import InputError


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file as listed: absolute URL, size in bytes, and the mark that changes when it is rewritten."""

    url: str
    size: int
    mark: str


@functools.cache
def filesystem(protocol: str) -> Any:
    """Return the file system of a protocol; credentials come from the environment, never from a job."""
    try:
        return fsspec.filesystem(protocol)
    except (ImportError, ValueError) as error:
        raise InputError(
            f"{protocol}://: no file system for it ({error}); expected a local path, s3://, hf:// "
            "or another fsspec URL whose package is installed"
        ) from None


def locate(url: str) -> tuple[Any, str]:
    """Split a URL into its file system and the path inside it; a relative path is made absolute."""
    protocol, separator, _ = url.partition("://")
    if not separator:
        return filesystem("file"), os.path.abspath(os.path.expanduser(url))
    fs = filesystem(protocol)
    return fs, fs._strip_protocol(url)


def is_local(fs: Any) -> bool:
    """Say whether a file system is this machine's own."""
    return isinstance(fs, LocalFileSystem)


def absolute(url: str) -> str:
    """Return a URL that means the same on every process of this machine, whatever its working directory."""
    fs, path = locate(url)
    return path if is_local(fs) else str(fs.unstrip_protocol(path))


def stored_file(fs: Any, path: str, info: dict[str, Any]) -> StoredFile:
    """Describe a listed file; the mark is the store's entity tag or version, else its modification time."""
    keys = ("ETag", "etag", "versionId", "mtime", "LastModified", "last_modified", "blob_id", "created")
    mark = next((_mark(info[key]) for key in keys if info.get(key)), "")
    url = path if is_local(fs) else str(fs.unstrip_protocol(path))
    return StoredFile(url, int(info["size"] or 0), mark)


def _mark(value: Any) -> str:
    # Some stores give one time as a date when listing a folder and as a number when asked for the file.
    return str(value.timestamp() if isinstance(value, datetime) else value)


def current(url: str) -> StoredFile:
    """Describe a file as it is now; a missing one is an InputError."""
    fs, path = locate(url)
    try:
        return stored_file(fs, path, fs.info(path))
    except FileNotFoundError:
        raise InputError(f"{url}: expected a file, found none; was it removed?") from None


def open_binary(url: str) -> BinaryIO:
    """Open a file for reading, seekable; one that cannot be opened is an InputError."""
    fs, path = locate(url)
    try:
        return cast(BinaryIO, fs.open(path, "rb"))
    except OSError as error:
        raise InputError(
            f"{url}: cannot be opened ({error.strerror or error}); check the path and the rights to read it"
        ) from None


def sync_path(path: str | os.PathLike[str]) -> None:
    """Make what was written to a local file, or the names in a local folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
