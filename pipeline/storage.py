"""Files by URL: a local path, or anything fsspec knows (s3://, hf://, memory://, ...)."""

import errno
import functools
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, TypeVar, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from corpusmill.pipeline.errors import InputError, first_line

SECRET = re.compile(
    r"^[^/@]*:[^/@]*@|[?&](?:X-Amz-|X-Goog-|sig=|signature=|token=|access_token=)", re.IGNORECASE
)
"""In a URL: `user:password@`, or a query that grants access."""

PAUSES = (1.0, 4.0, 16.0)
"""Seconds before each further request to a store, after the retries of its client, which take a second."""
PERMANENT = (PermissionError, FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A listed file: absolute URL, size in bytes, and a mark that changes when the file is rewritten."""

    url: str
    size: int
    mark: str


@functools.cache
def filesystem(protocol: str) -> Any:
    """Return the file system of a protocol; credentials come from the environment, never from a job.

    Listings are not cached: one of a million files would fill the memory, and changes would not be seen.
    """
    try:
        return fsspec.filesystem(protocol, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        raise InputError(
            f"{protocol}://: no file system for it ({error}); expected a local path, s3://, hf:// "
            "or another fsspec URL whose package is installed"
        ) from None


def locate(url: str) -> tuple[Any, str]:
    """Return the file system of a URL and the path inside it; a relative path is made absolute."""
    protocol, separator, rest = url.partition("://")
    if SECRET.search(rest) and separator:
        raise InputError(
            f"{protocol}://...: the URL holds a password or a signature; expected credentials in the "
            "environment or in the file system's own profile; remove them from the URL"
        )
    if not separator:
        return filesystem("file"), os.path.abspath(os.path.expanduser(url))
    fs = filesystem(protocol)
    return fs, fs._strip_protocol(url)


def is_local(fs: Any) -> bool:
    """Return whether a file system is on this machine's disks."""
    return isinstance(fs, LocalFileSystem)


def absolute(url: str) -> str:
    """Return a URL that is valid in every process of this machine, whatever its working directory."""
    fs, path = locate(url)
    return path if is_local(fs) else str(fs.unstrip_protocol(path))


def stored_file(fs: Any, path: str, info: dict[str, Any]) -> StoredFile:
    """Return a listed file; its mark is the store's entity tag or version, else its modification time."""
    keys = ("ETag", "etag", "versionId", "mtime", "LastModified", "last_modified", "blob_id", "created")
    mark = next((_mark(info[key]) for key in keys if info.get(key)), "")
    url = path if is_local(fs) else str(fs.unstrip_protocol(path))
    return StoredFile(url, int(info["size"] or 0), mark)


def _mark(value: Any) -> str:
    # Some stores return the time as a date in a listing, and as a number for a single file.
    return str(value.timestamp() if isinstance(value, datetime) else value)


def is_permanent(error: Exception) -> bool:
    """Return whether an error is permanent; stores report expired credentials as a bad request (EINVAL)."""
    return isinstance(error, PERMANENT) or getattr(error, "errno", None) == errno.EINVAL


def advice(fs: Any) -> str:
    """Return what to check after a file system has failed; errors of some stores have no message."""
    if is_local(fs):
        return "check the path and its permissions"
    return "check the path and the credentials: the store has to accept them, and they must not have expired"


def with_retries(fs: Any, ask: Callable[[], T]) -> T:
    """Call a file system; if a store fails, repeat the call after each of PAUSES."""
    for pause in () if is_local(fs) else PAUSES:
        try:
            return ask()
        except Exception as error:  # clients of stores raise exceptions of their own
            if is_permanent(error):
                raise
            time.sleep(pause)
    return ask()


def stat_file(url: str) -> StoredFile:
    """Return a file as it is now; a missing one is an InputError."""
    fs, path = locate(url)
    try:
        return stored_file(fs, path, with_retries(fs, lambda: fs.info(path)))
    except FileNotFoundError:
        raise InputError(f"{url}: expected a file, found none; was it removed?") from None
    except Exception as error:  # clients of stores raise exceptions of their own
        raise InputError(f"{url}: cannot be examined ({reason_of(error)}); {advice(fs)}") from error


def open_binary(url: str) -> BinaryIO:
    """Open a seekable file for reading; one that cannot be opened is an InputError."""
    fs, path = locate(url)
    try:
        return cast(BinaryIO, with_retries(fs, lambda: fs.open(path, "rb")))
    except Exception as error:  # clients of stores raise exceptions of their own
        raise InputError(f"{url}: cannot be opened ({reason_of(error)}); {advice(fs)}") from error


def reason_of(error: BaseException) -> str:
    """Return in one line why a file system failed; for an exception without a message, its type."""
    return (error.strerror if isinstance(error, OSError) else None) or first_line(error)


def sync_path(path: str | os.PathLike[str]) -> None:
    """Sync a local file, or the names in a local folder, so that they survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
