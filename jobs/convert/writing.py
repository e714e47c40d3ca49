"""Writing of the new folder: under a temporary name beside it, then synced and renamed."""

import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file

from corpusmill.jobs.convert.spec import Tensors
from corpusmill.jobs.errors import ConvertError
from corpusmill.models.checkpoints.safetensors_headers import SINGLE
from corpusmill.pipeline.storage import sync_path

COPIED = (".json", ".txt", ".model", ".md")
INDEX_ENDING = ".index.json"


def check_target(target: Path) -> None:
    """Refuse a path that is neither new nor an empty folder."""
    if target.is_symlink() or target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise ConvertError(
            f"{target}: expected a new or empty folder, got one that holds files, or a file"
        ).at("DST")


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield a folder to write in; it becomes the target when the block ends, and is removed when it fails."""
    resolved = target.absolute()
    staged = resolved.parent / f".{resolved.name}.{uuid.uuid4().hex}.partial"
    try:
        resolved.parent.mkdir(parents=True, exist_ok=True)
        staged.mkdir()
        yield staged
        for path in (*staged.rglob("*"), staged):
            sync_path(path)
        staged.rename(resolved)
        sync_path(resolved.parent)
    except (OSError, SafetensorError) as error:
        raise ConvertError(f"{target}: cannot be written: {error}").at("DST") from None
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def write_tensors(tensors: Tensors, folder: Path) -> int:
    """Write model.safetensors with transformers' metadata, and return its bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    file = folder / SINGLE
    file.touch()
    mode = file.stat().st_mode
    save_file(whole, file, metadata={"format": "pt"})
    # safetensors makes its file readable by the owner only and ignores the umask.
    file.chmod(mode)
    return file.stat().st_size


def copy_small_files(source: Path, target: Path) -> None:
    """Copy config, tokenizer and text files of one folder: data only, no code and no weights."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()) if source.is_dir() else ():
        wanted = path.suffix in COPIED or path.name.upper().startswith("LICENSE")
        if path.is_file() and wanted and not path.name.endswith(INDEX_ENDING):
            shutil.copyfile(path, target / path.name)


def write_config(config: dict[str, Any], folder: Path) -> None:
    """Write config.json."""
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")
