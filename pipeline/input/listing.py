"""From input paths to input files: a path is a file, a folder or a glob; each file is listed once, sorted."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from corpusmill.pipeline.errors import InputError
from corpusmill.pipeline.input.own_output import OwnOutput
from corpusmill.pipeline.storage import StoredFile, advice, locate, reason_of, stored_file, with_retries

PARQUET_SUFFIXES = (".parquet", ".pq")
JSONL_SUFFIXES = (".jsonl", ".ndjson", ".json")
COMPRESSION_SUFFIXES = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".xz": "xz"}


@dataclass(frozen=True)
class InputFiles:
    """The input files in sorted order, and the files left out because they are the job's own output."""

    files: list[StoredFile]
    own: frozenset[str] = frozenset()


def list_files(
    paths: Iterable[str], *, any_name: bool = False, output: OwnOutput | None = None
) -> InputFiles:
    """List the files of all paths; a path that matches nothing is an InputError.

    In a folder, files whose names have a known format are listed; with `any_name` all that are not hidden.
    Files below `output` are left out; a path that is itself below `output` is an InputError.
    """
    found: dict[str, StoredFile] = {}
    own: set[str] = set()
    for path in paths:
        for file, is_own in _list_path(path, any_name=any_name, output=output):
            if is_own:
                own.add(file.url)
            else:
                found[file.url] = file
    return InputFiles([found[url] for url in sorted(found)], frozenset(own))


def file_format(url: str) -> str:
    """Return a file's format, by its name."""
    name = _without_compression(url)
    if name.endswith(PARQUET_SUFFIXES):
        return "parquet"
    if name.endswith(JSONL_SUFFIXES):
        return "jsonl"
    known = ", ".join((*PARQUET_SUFFIXES, *JSONL_SUFFIXES))
    raise InputError(
        f"{url}: cannot tell the format from the name; expected one of {known} (JSONL also with "
        f"{', '.join(COMPRESSION_SUFFIXES)}); set input.format"
    )


def compression(url: str) -> str | None:
    """Return a file's compression, by its name."""
    return COMPRESSION_SUFFIXES.get(os.path.splitext(url.lower())[1])


def _without_compression(url: str) -> str:
    stem, suffix = os.path.splitext(url.lower())
    return stem if suffix in COMPRESSION_SUFFIXES else url.lower()


def _list_path(path: str, *, any_name: bool, output: OwnOutput | None) -> list[tuple[StoredFile, bool]]:
    """Return the files of a path, each with a flag: whether it belongs to the job's own output."""
    fs, inner = locate(path)
    if output is not None and output.holds(fs, inner, is_link=True):
        raise InputError(
            f"{path}: expected input, got the job's own output: output.path is {output.url}; read another "
            "folder, or write to a folder that holds no input"
        )
    try:
        entries, what = with_retries(fs, lambda: _entries(fs, inner))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file or folder; expected a file, a folder or a glob") from None
    except Exception as error:  # clients of stores raise exceptions of their own
        raise InputError(f"{path}: cannot be listed ({reason_of(error)}); {advice(fs)}") from error
    files = [
        (stored_file(fs, name, info), output is not None and output.holds(fs, name, is_link=_is_link(info)))
        for name, info in entries.items()
        if _is_input(inner, name, info, any_name=any_name)
    ]
    if all(is_own for _, is_own in files):
        what = f"all {len(files)} files found are of the job's own output" if files else what
        raise InputError(f"{path}: {what}; expected at least one Parquet or JSONL file")
    return files


def _is_link(info: dict[str, Any]) -> bool:
    return bool(info.get("islink"))


def _entries(fs: Any, path: str) -> tuple[dict[str, dict[str, Any]], str]:
    """Return the entries that a path names, and the error message if none of them can be used."""
    if _is_glob(path) and not fs.exists(path):
        return fs.glob(path, detail=True), "the glob matches no file"
    if fs.isdir(path):
        return fs.find(path, detail=True), "the folder holds no file that can be read"
    return {path: fs.info(path)}, "no such file"


def _is_input(asked: str, name: str, info: dict[str, object], *, any_name: bool) -> bool:
    """Return whether an entry is an input file: no folder, hidden file, marker (_SUCCESS) or other format."""
    if info.get("type") == "directory":
        return False
    if name == asked:
        return True
    if _is_hidden(asked, name):
        return False
    known = _without_compression(name).endswith((*PARQUET_SUFFIXES, *JSONL_SUFFIXES))
    return any_name or known or _is_glob(asked)


def _is_glob(path: str) -> bool:
    return any(mark in path for mark in "*?[")


def _is_hidden(asked: str, name: str) -> bool:
    """Return whether a part of the name is hidden, unless the same part of the asked path is."""
    pairs = zip_longest(name.split("/"), asked.split("/"), fillvalue="")
    return any(
        part.startswith(mark) and not pattern.startswith(mark)
        for part, pattern in pairs
        for mark in (".", "_")
    )
