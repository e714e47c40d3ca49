"""A job's checkpoints on this node: a local folder, or the cache's copy of the files at a URL.

The driver finds a checkpoint and its digest; a worker uses the files of that digest or fails. A hub address
without a revision keeps the files of the first fetch on this node. A folder in a store is listed each time,
and fetched again if it has changed; if the store does not answer, the copy is used.
"""

import functools
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from corpusmill.pipeline.checkpoints.cache import CacheEntry, CacheNote, FileSelection, cached
from corpusmill.pipeline.checkpoints.download import HUB, Listing, Unreachable, list_files
from corpusmill.pipeline.errors import InputError
from corpusmill.pipeline.spec import ModelSpec, TokenizerSpec
from corpusmill.pipeline.storage import absolute, filesystem, is_local
from corpusmill.pipeline.tokenize.settings import OTHER_FILES
from corpusmill.pipeline.tokenize.tokenizer import FILES, tokenizer_digest

SUFFIXES = (".json", ".safetensors", ".txt")
CHUNK = 1 << 22


@dataclass(frozen=True, slots=True)
class FoundCheckpoint:
    """A checkpoint's folder on this machine, the address for other nodes, and its digest."""

    folder: Path
    source: str
    digest: str


def find_checkpoint(url: str) -> FoundCheckpoint:
    """Return a checkpoint on this machine, fetched if necessary; a wrong name is an InputError."""
    if _is_folder(url):
        folder = Path(absolute(url)).resolve()
        if folder.is_file():
            from corpusmill.models.checkpoints.foreign_files import foreign_file

            raise InputError(
                f"{url}: expected a folder with config.json and model.safetensors, got {foreign_file(folder)}"
            )
        if not folder.is_dir():
            raise InputError(
                f"{url}: no such folder; expected one with config.json and model.safetensors, or "
                "hf://org/name[@revision]"
            )
        return FoundCheckpoint(folder, str(folder), digest(folder))
    slot = CacheEntry(url)
    with slot.locked():
        note = slot.note()
        listing = _listing(url, note)
        if note is not None and listing == note.listing:
            kept = cached(note.digest, CHECKPOINT) or slot.fetch(note.source, CHECKPOINT, note.digest)[0]
            return FoundCheckpoint(kept, note.source, note.digest)
        folder, source = slot.fetch(url, CHECKPOINT)
        slot.write(CacheNote(source, folder.name, listing))
        return FoundCheckpoint(folder, source, folder.name)


def model_folder(spec: ModelSpec) -> Path:
    """Return a model's folder on this node, with exactly the files that the driver found."""
    there = Path(spec.checkpoint)
    if there.is_dir() and digest(there) == spec.digest:
        return there
    return _fetched_folder(spec.source, there, spec.digest, CHECKPOINT)


@functools.lru_cache(maxsize=16)
def tokenizer_folder(spec: TokenizerSpec) -> str:
    """Return a folder on this node with exactly the tokenizer that the driver found; fetches no weights."""
    if os.path.isdir(spec.folder) and tokenizer_digest(spec.folder, sentence=spec.sentence) == spec.digest:
        return spec.folder
    names = {str(PurePosixPath(spec.inside, name)) for name in (*FILES, *OTHER_FILES)}
    wanted = FileSelection(
        names.__contains__,
        lambda folder: tokenizer_digest(str(folder / spec.inside), sentence=spec.sentence),
    )
    return str(_fetched_folder(spec.source, Path(spec.folder), spec.digest, wanted) / spec.inside)


def digest(folder: Path) -> str:
    """Return the hash of all files that can change a result: configuration, weights, tokenizer."""
    total = hashlib.sha256()
    for path in _files(folder):
        total.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                total.update(chunk)
    return total.hexdigest()


def local_files(spec: ModelSpec) -> list[Path]:
    """Return the files that workers open in the driver's folder; none if each node fetches its own copy."""
    return _files(Path(spec.source)) if _is_folder(spec.source) else []


def _files(folder: Path) -> list[Path]:
    found = sorted(folder.rglob("*"))
    return [path for path in found if _in_checkpoint(path.relative_to(folder).as_posix()) and path.is_file()]


def title(url: str) -> str:
    """Return the last part of a checkpoint's address, for messages."""
    return PurePosixPath(url.partition("@")[0] if url.startswith(HUB) else absolute(url)).name


def _in_checkpoint(name: str) -> bool:
    """Return whether a file belongs to a checkpoint: it is in the folder, or in a module's folder there.

    A Router's folder has the folders of further modules.
    """
    # Here, because this import loads torch, which workers that only tokenize do without.
    from corpusmill.models.checkpoints.routes import ROUTERS

    path = PurePosixPath(name)
    hidden = any(part.startswith(".") for part in path.parts)
    depth = 3 if name.partition("/")[0].rpartition("_")[2] in ROUTERS else 2
    return path.suffix in SUFFIXES and len(path.parts) <= depth and not hidden


CHECKPOINT = FileSelection(_in_checkpoint, digest)


def _is_folder(url: str) -> bool:
    protocol, separator, _ = url.partition("://")
    return not separator or (not url.startswith(HUB) and is_local(filesystem(protocol)))


def _listing(url: str, note: CacheNote | None) -> Listing | None:
    if url.startswith(HUB):
        return None
    try:
        return list_files(url, _in_checkpoint)
    except Unreachable:
        if note is None:
            raise
        return note.listing


def _fetched_folder(source: str, there: Path, expected: str, wanted: FileSelection) -> Path:
    """Return the cache's folder of a digest, fetched once per node; `there` is the driver's folder."""
    if _is_folder(source):
        if there.is_dir():
            raise InputError(
                f"{there}: expected the files that the job was started with (digest {expected}), found "
                "others; restore them, or start a new job with another output.path"
            )
        raise InputError(
            f"{there}: no such folder on this worker's machine; put the checkpoint on storage that all "
            "nodes share, or give a URL (s3://, hf://org/name, ...), which each node fetches from"
        )
    kept = cached(expected, wanted)
    if kept is None:
        slot = CacheEntry(source)
        with slot.locked():
            kept = cached(expected, wanted) or slot.fetch(source, wanted, expected)[0]
    return kept
