"""Paths that a checkpoint's own files name."""

from pathlib import Path, PureWindowsPath

from corpusmill.models.errors import CheckpointError


def inside(folder: Path, name: str, *, named_by: Path) -> Path:
    """The path of a file or folder of a checkpoint; a CheckpointError if it would lie elsewhere.

    Links inside the folder are followed: the Hugging Face cache is made of links.
    """
    path = PureWindowsPath(name)  # splits at both kinds of slash, and knows drives
    if path.is_absolute() or path.drive or path.root or ".." in path.parts:
        raise CheckpointError(f"{named_by}: expected a path inside the checkpoint's folder, got {name!r}")
    return folder / name
