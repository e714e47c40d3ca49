"""Values of a checkpoint's JSON files, with errors that name the field."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath
from typing import Any, TypeVar

from corpusmill.models.checkpoints.foreign_files import LFS, is_lfs_pointer
from corpusmill.models.errors import CheckpointError, ConfigError

T = TypeVar("T", int, float, bool, str)
LARGEST = 1 << 24
"""The largest size that is accepted: a larger value means a damaged file."""
MOST_LAYERS = 1 << 10


class Fields:
    """A JSON object whose values are read by name and type."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw = raw

    def require(self, name: str, kind: type[T]) -> T:
        """Return the value of a mandatory key."""
        if self.raw.get(name) is None:
            raise ConfigError(f"{name}: expected {_article(kind)}, but the key is missing")
        return self._typed(name, self.raw[name], kind)

    def get(self, name: str, default: T) -> T:
        """Return the value of a key, or transformers' default where it is absent or null."""
        value = self.raw.get(name)
        return default if value is None else self._typed(name, value, type(default))

    def size(self, name: str, *, at_most: int = LARGEST) -> int:
        """Return a mandatory positive integer."""
        return positive(name, self.require(name, int), at_most=at_most)

    def get_size(self, name: str, default: int, *, at_most: int = LARGEST) -> int:
        """Return a positive integer, or transformers' default."""
        return positive(name, self.get(name, default), at_most=at_most)

    def layers(self, name: str) -> int:
        """Return a mandatory number of layers."""
        return self.size(name, at_most=MOST_LAYERS)

    def groups(self, name: str, default: int, *widths: int) -> int:
        """Return a number of groups that divides every width of the map it is for."""
        groups = self.get_size(name, default)
        for width in widths:
            if width % groups:
                raise ConfigError(f"{name}: expected a divisor of {width}, got {groups}")
        return groups

    def only(self, name: str, *allowed: object) -> None:
        """Refuse any value but these; null and an absent key are accepted."""
        value = self.raw.get(name)
        if value is not None and value not in allowed:
            raise ConfigError(unexpected(name, allowed, value))

    def divisible(self, name: str, *, by: str) -> None:
        """Refuse a width that is not a multiple of the number of heads."""
        width, heads = self.size(name), self.size(by)
        if width % heads:
            raise ConfigError(f"{name}: expected a multiple of {by} ({heads}), got {width}")

    def _typed(self, name: str, value: Any, kind: type[T]) -> T:
        if kind is float and type(value) is int:
            return float(value)
        if type(value) is not kind:
            raise ConfigError(f"{name}: expected {_article(kind)}, got {value!r}")
        return value


def read_json(path: Path) -> Any:
    """Parse a JSON file of a checkpoint."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: expected a JSON file, found none") from None
    except ValueError as error:
        if is_lfs_pointer(path):
            raise ConfigError(f"{path}: expected JSON, got {LFS}") from None
        raise ConfigError(f"{path}: expected JSON, got a file that does not parse: {error}") from None


def read_object(path: Path) -> dict[str, Any]:
    """Parse a JSON file that must hold an object."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: expected a JSON object, got {type(value).__name__}")
    return value


@contextmanager
def located(path: Path) -> Iterator[None]:
    """Put the file's name before the message of a ConfigError."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def unexpected(name: str, allowed: Sequence[object], value: object) -> str:
    """Return the message about a value that is not one of those allowed."""
    wanted = f"expected {' or '.join(map(repr, allowed))}" if allowed else "expected no such key"
    return f"{name}: {wanted}, got {value!r}, which this version does not support"


def positive(name: str, value: int, *, at_most: int) -> int:
    """Return the value if it is above zero and at most `at_most`."""
    if value < 1:
        raise ConfigError(f"{name}: expected a positive number, got {value}")
    if value > at_most:
        raise ConfigError(f"{name}: expected a number up to {at_most}, got {value}")
    return value


def _article(kind: type[Any]) -> str:
    return {int: "an integer", float: "a number", bool: "true or false", str: "a string"}[kind]


# Paths in a checkpoint's own files.


def inside(folder: Path, name: str, *, named_by: Path) -> Path:
    """Return the path of a checkpoint's file or folder; raise CheckpointError if it lies outside.

    Links inside the folder are followed: the Hugging Face cache is made of links.
    """
    path = PureWindowsPath(name)  # splits at both kinds of slash, and recognizes drives
    if path.is_absolute() or path.drive or path.root or ".." in path.parts:
        raise CheckpointError(f"{named_by}: expected a path inside the checkpoint's folder, got {name!r}")
    return folder / name
