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
"""Seconds before each further attempt at a store: on top of its client's own, which last about a second."""
PERMANENT = (PermissionError, FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file as listed: absolute URL, size in bytes, and the mark that changes when it is rewritten."""

    url: str
    size: int
    mark: str


@functools.cache
def filesystem(protocol: str) -> Any:
    """Return the file system of a protocol; credentials come from the environment, never from a job.

    What it lists is not kept: a listing of a million files would fill the memory, and a file that changed
    since would look as before.
    """
    try:
        return fsspec.filesystem(protocol, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        raise InputError(
            f"{protocol}://: no file system for it ({error}); expected a local path, s3://, hf:// "
            "or another fsspec URL whose package is installed"
        ) from None


def locate(url: str) -> tuple[Any, str]:
    """Split a URL into its file system and the path inside it; a relative path is made absolute."""
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


def is_permanent(error: Exception) -> bool:
    """Say whether no further attempt would change this; stores call expired credentials a bad request."""
    return isinstance(error, PERMANENT) or getattr(error, "errno", None) == errno.EINVAL


def advice(fs: Any) -> str:
    """Say what to look at where a file system refuses; of stores some answers are without any words."""
    if is_local(fs):
        return "check the path and its permissions"
    return "check the path and the credentials: the store has to accept them, and they must not have expired"


def with_retries(fs: Any, ask: Callable[[], T]) -> T:
    """Ask a file system for something; a store that fails to answer is asked again after each of PAUSES."""
    for pause in () if is_local(fs) else PAUSES:
        try:
            return ask()
        except Exception as error:  # clients of stores raise errors of their own where no file system would
            if is_permanent(error):
                raise
            time.sleep(pause)
    return ask()


def stat_file(url: str) -> StoredFile:
    """Describe a file as it is now; a missing one is an InputError."""
    fs, path = locate(url)
    try:
        return stored_file(fs, path, with_retries(fs, lambda: fs.info(path)))
    except FileNotFoundError:
        raise InputError(f"{url}: expected a file, found none; was it removed?") from None
    except Exception as error:  # clients of stores raise errors of their own
        raise InputError(f"{url}: cannot be examined ({reason_of(error)}); {advice(fs)}") from error


def open_binary(url: str) -> BinaryIO:
    """Open a file for reading, seekable; one that cannot be opened is an InputError."""
    fs, path = locate(url)
    try:
        return cast(BinaryIO, with_retries(fs, lambda: fs.open(path, "rb")))
    except Exception as error:  # clients of stores raise errors of their own
        raise InputError(f"{url}: cannot be opened ({reason_of(error)}); {advice(fs)}") from error


def reason_of(error: BaseException) -> str:
    """Say in one line why a file system refused; an exception without words by its kind."""
    return (error.strerror if isinstance(error, OSError) else None) or first_line(error)


def sync_path(path: str | os.PathLike[str]) -> None:
    """Make what was written to a local file, or the names in a local folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
