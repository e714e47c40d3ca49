"""A store in memory that fails as real ones do, on request: `faulty://` URLs, and the rules it follows."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import fsspec
from fsspec.implementations.memory import MemoryFileSystem


@dataclass
class Fault:
    """What happens to an operation on paths that match.

    `operation` is `write`, `read` or `list`; of those that match, the first `after` and all beyond `times`
    are spared. `error` is raised, after the work was done if `late` (an answer that got lost). A `list` fault
    without an error leaves the matching names out. `seconds` is waited before anything else.
    """

    operation: str
    path: str = ""
    error: Exception | None = None
    after: int = 0
    times: int = 10**9
    late: bool = False
    seconds: float = 0.0
    seen: int = field(default=0, init=False)

    def strikes(self, operation: str, path: str) -> bool:
        """Count an operation and say whether this fault concerns it."""
        if operation != self.operation or not re.search(self.path, path):
            return False
        self.seen += 1
        return self.after < self.seen <= self.after + self.times


class FaultyFileSystem(MemoryFileSystem):  # type: ignore[misc]
    """The store; it keeps objects for the whole process, and faults until the block ends that set them."""

    protocol = "faulty"
    root_marker = ""
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    faults: ClassVar[list[Fault]] = []

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return MemoryFileSystem._strip_protocol(str(path).replace("faulty://", "memory://", 1))

    def unstrip_protocol(self, name: str) -> str:
        """Return the URL."""
        return "faulty://" + name.removeprefix("faulty://")

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        """Write a whole object."""
        with self._struck("write", path):
            super().pipe_file(path, value, mode=mode, **options)

    def cat_file(self, path: str, *arguments: Any, **options: Any) -> bytes:
        """Read a whole object, or a part of it."""
        with self._struck("read", path):
            content: bytes = super().cat_file(path, *arguments, **options)
            return content

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        with self._struck("read" if mode == "rb" else "open to write", path):
            return super()._open(path, mode, **options)

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        """Describe one object: stores answer that from its own record, never late."""
        with self._struck("read", path):
            found: dict[str, Any] = super().info(path, **options)
            return found

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        """List a folder, without the names that a fault hides."""
        with self._struck("list", path):
            found = super().ls(path, detail=True, **options)
        hidden = [fault for fault in self.faults if fault.operation == "list" and fault.error is None]
        shown = [e for e in found if not any(f.path and re.search(f.path, e["name"]) for f in hidden)]
        return shown if detail else [entry["name"] for entry in shown]

    @contextmanager
    def _struck(self, operation: str, path: str) -> Iterator[None]:
        struck = [fault for fault in self.faults if fault.strikes(operation, path)]
        for fault in struck:
            time.sleep(fault.seconds)
            if fault.error is not None and not fault.late:
                raise fault.error
        yield
        for fault in struck:
            if fault.error is not None and fault.late:
                raise fault.error


@contextmanager
def faults(*found: Fault) -> Iterator[None]:
    """Let the store fail so while the block runs."""
    FaultyFileSystem.faults[:] = found
    try:
        yield
    finally:
        FaultyFileSystem.faults.clear()


fsspec.register_implementation("faulty", FaultyFileSystem, clobber=True)
