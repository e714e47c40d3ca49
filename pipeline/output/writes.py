"""Atomic writes to a disk or a store: a file appears complete or not at all, and failures are OutputErrors.

On a local disk a file is written under a unique temporary name, synced, and renamed in one step. On a store
it is one put, or a multipart upload that appears when it is complete; nothing is renamed there.
"""

import errno
import os
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from corpusmill.pipeline.errors import OutputError
from corpusmill.pipeline.storage import (
    advice,
    is_local,
    is_permanent,
    locate,
    reason_of,
    sync_path,
    with_retries,
)

T = TypeVar("T")
Content = bytes | memoryview

NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
TEMPORARY = ".tmp"


def replace(path: str, content: Content) -> None:
    """Create or replace a file with this content, in one step that survives a power failure."""
    fs, inner = locate(path)
    if is_local(fs):
        _explain_failure(path, lambda: _write_locally(inner, content, _replace))
    else:
        _explain_failure(path, lambda: fs.pipe_file(inner, bytes(content)))


def create(path: str, content: Content) -> bool:
    """Create a file with this content; return False without a change if it exists already.

    This is atomic on disks with hard links and on stores with conditional puts; elsewhere the file's absence
    is checked first.
    """
    fs, inner = locate(path)
    if is_local(fs):
        return _explain_failure(path, lambda: _write_locally(inner, content, _link))
    return _explain_failure(path, lambda: _create_in_store(fs, inner, bytes(content)))


def append(path: str, text: str) -> None:
    """Append text to a file on a local disk."""
    _, inner = locate(path)
    _explain_failure(path, lambda: _extend_locally(inner, text))


def sweep(folder: str) -> None:
    """Remove the temporary files of killed processes from a folder on a local disk."""
    if os.path.isdir(folder):
        for entry in os.scandir(folder):
            if entry.name.startswith(".") and entry.name.endswith(TEMPORARY):
                _explain_failure(entry.path, partial(_unlink, entry.path))


def _explain_failure(path: str, write: Callable[[], T]) -> T:
    """Call `write`; a failure is an OutputError that states what to do."""
    try:
        return with_retries(locate(path)[0], write)
    except Exception as error:
        raise _write_error(path, error) from error


def _write_error(path: str, error: Exception) -> OutputError:
    fs, _ = locate(path)
    needed = "it needs free space and write permission" if is_local(fs) else advice(fs)
    refused = OutputError(
        f"{path}: cannot be written ({reason_of(error)}); {needed}, then run the same command again"
    )
    return refused.at("output.path") if is_permanent(error) else refused


def _create_in_store(fs: Any, path: str, content: bytes) -> bool:
    try:
        fs.pipe_file(path, content, mode="create")
    except FileExistsError:
        return False
    except (TypeError, NotImplementedError):
        return _create_after_asking(fs, path, content)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        return _create_after_asking(fs, path, content)
    return True


def _create_after_asking(fs: Any, path: str, content: bytes) -> bool:
    if fs.exists(path):
        return False
    fs.pipe_file(path, content)
    return True


def _write_locally(path: str, content: Content, name: Callable[[str, str], bool]) -> bool:
    folder = os.path.dirname(path)
    _make_folder(folder)
    temporary = os.path.join(folder, f".{os.path.basename(path)}.{uuid.uuid4().hex}{TEMPORARY}")
    try:
        with open(temporary, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        named = name(temporary, path)
    finally:
        _unlink(temporary)
    sync_path(folder)
    return named


def _make_folder(folder: str) -> None:
    """Create a folder and its parents, so that their names survive a power failure too."""
    if not os.path.exists(folder):
        above = os.path.dirname(folder)
        _make_folder(above)
        os.makedirs(folder, exist_ok=True)
        sync_path(above)


def _replace(temporary: str, path: str) -> bool:
    os.replace(temporary, path)
    return True


def _link(temporary: str, path: str) -> bool:
    """Give a file its name unless another file has it, which a rename would replace."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        return not os.path.exists(path) and _replace(temporary, path)
    return True


def _unlink(path: str) -> None:
    if os.path.exists(path):
        os.unlink(path)


def _extend_locally(path: str, text: str) -> None:
    _make_folder(os.path.dirname(path))
    with open(path, "a", encoding="utf-8") as stream:
        stream.write(text)
