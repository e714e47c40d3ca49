"""The download of a checkpoint's files from the Hugging Face hub or any store that fsspec knows."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from corpusmill.pipeline.errors import InputError, first_line
from corpusmill.pipeline.storage import StoredFile, locate, stored_file

HUB = "hf://"
HUB_PATTERNS = ["*.json", "*.safetensors", "*.txt"]
"""On the hub `*` matches any folder too."""
COMMIT = re.compile("[0-9a-f]{40}")

FileFilter = Callable[[str], bool]
"""Returns whether a file is wanted, given its path inside the checkpoint."""
Listing = dict[str, tuple[int, str]]
"""Size and modification mark of each wanted file."""


class Unreachable(InputError):  # noqa: N818
    """A place that may exist, but does not answer: files that were fetched before may be used."""


def list_files(url: str, takes: FileFilter) -> Listing:
    """List a checkpoint in a store; InputError if there is none, Unreachable if the store does not answer."""
    found = {name: (file.size, file.mark) for name, (_, file) in _stored(url, takes).items()}
    if not found:
        raise InputError(
            f"{url}: no checkpoint there; expected a folder with config.json and model.safetensors, or "
            "hf://org/name[@revision]"
        )
    return found


def fetch(url: str, into: Path, takes: FileFilter, accept: Callable[[Path], bool] | None = None) -> str:
    """Fetch the wanted files into a folder; return a URL that gives other nodes exactly these files.

    `accept` returns whether the files that the hub's library has on this machine are the right ones: then
    the hub is not contacted.
    """
    if url.startswith(HUB):
        return _from_hub(url.removeprefix(HUB), into, takes, accept)
    try:
        for name, (path, file) in _stored(url, takes).items():
            _get(path, file, into / name)
    except InputError:
        raise
    except Exception as error:  # each store raises exceptions of its own
        raise Unreachable(
            f"{url}: cannot be fetched ({first_line(error)}); check the network and the free space"
        ) from None
    return url


def _get(path: str, file: StoredFile, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    locate(file.url)[0].get_file(path, str(target))
    if target.stat().st_size != file.size:
        raise OSError(f"{file.url}: expected {file.size} bytes, got {target.stat().st_size}")


def _stored(url: str, takes: FileFilter) -> dict[str, tuple[str, StoredFile]]:
    fs, root = locate(url)
    root = root.rstrip("/")
    try:
        fs.invalidate_cache()
        found = fs.find(root, maxdepth=3, detail=True)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except Exception as error:  # each store raises exceptions of its own
        raise Unreachable(
            f"{url}: cannot be listed ({first_line(error)}); check the name, the network and the credentials"
        ) from None
    names = {path: path.removeprefix(root).lstrip("/") for path in sorted(found)}
    return {name: (path, stored_file(fs, path, found[path])) for path, name in names.items() if takes(name)}


def _from_hub(name: str, into: Path, takes: FileFilter, accept: Callable[[Path], bool] | None) -> str:
    folder = _snapshot(name, offline=True) if accept else None
    if folder is None or accept is None or not _copied(folder, into, takes) or not accept(into):
        folder = _snapshot(name, offline=False)
        if folder is None or not _copied(folder, into, takes):
            raise InputError(f"{HUB}{name}: expected config.json and model.safetensors there, found neither")
    commit = folder.name
    return f"{HUB}{name.partition('@')[0]}@{commit}" if COMMIT.fullmatch(commit) else f"{HUB}{name}"


def _snapshot(name: str, *, offline: bool) -> Path | None:
    """Return the hub library's folder of a model; None if `offline` and it has none."""
    import huggingface_hub  # takes half a second, which jobs on a folder save
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    repository, _, revision = name.partition("@")
    try:
        return Path(
            huggingface_hub.snapshot_download(
                repository,
                revision=revision or None,
                allow_patterns=HUB_PATTERNS,
                local_files_only=offline,
            )
        )
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise InputError(
            f"hf://{name}: no such model ({first_line(error)}); expected hf://org/name[@revision]"
        ) from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        if offline:
            return None
        raise Unreachable(
            f"hf://{name}: cannot be fetched ({first_line(error)}); check the network, or give a folder"
        ) from None


def _copied(folder: Path, into: Path, takes: FileFilter) -> bool:
    """Copy the wanted files of the hub library's folder; return False if there are none."""
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    wanted = [name for name in names if takes(name)]
    for name in wanted:
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, into / name)
    return bool(wanted)
