"""Where a job's checkpoints come from: a folder, or `hf://org/name[@revision]` through huggingface_hub."""

import hashlib
from pathlib import Path

from corpusmill.pipeline.errors import InputError

HUB = "hf://"
NEEDED = ("*.json", "*.safetensors", "*.txt", "*/*.json", "*/*.safetensors")
CHUNK = 1 << 22


def local_folder(checkpoint: str) -> Path:
    """Return the folder of a checkpoint on this machine, fetching it from the hub if that is where it is."""
    if checkpoint.startswith(HUB):
        return _from_hub(checkpoint.removeprefix(HUB))
    if "://" in checkpoint:
        scheme = checkpoint.split("://", maxsplit=1)[0]
        raise InputError(
            f"{checkpoint}: expected a folder or hf://org/name[@revision], got {scheme}://; "
            "copy the checkpoint to a folder first"
        )
    folder = Path(checkpoint).expanduser().resolve()
    if not folder.is_dir():
        raise InputError(
            f"{checkpoint}: no such folder; expected one with config.json and model.safetensors, or "
            "hf://org/name[@revision]"
        )
    return folder


def digest(folder: Path) -> str:
    """Hash everything of a checkpoint that can change a result: configuration, weights, tokenizer."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in (".json", ".safetensors", ".txt"):
            total.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode())
            with path.open("rb") as file:
                while chunk := file.read(CHUNK):
                    total.update(chunk)
    return total.hexdigest()


def _from_hub(name: str) -> Path:
    import huggingface_hub  # half a second that jobs on a folder need not wait
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    repository, _, revision = name.partition("@")
    try:
        return Path(
            huggingface_hub.snapshot_download(
                repository, revision=revision or None, allow_patterns=list(NEEDED)
            )
        )
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise InputError(
            f"hf://{name}: no such model ({_first_line(error)}); expected hf://org/name[@revision]"
        ) from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise InputError(
            f"hf://{name}: cannot be fetched ({_first_line(error)}); check the network, or give a folder"
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
