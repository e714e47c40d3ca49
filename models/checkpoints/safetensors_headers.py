"""Names, shapes and dtypes of a folder's safetensors files, without reading a weight."""

from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from corpusmill.models.checkpoints.config_fields import inside, read_object
from corpusmill.models.checkpoints.foreign_files import (
    LFS,
    adapter_beside_weights,
    foreign_folder,
    is_lfs_pointer,
)
from corpusmill.models.errors import CheckpointError

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a safetensors file, as the file's header describes it; `dtype` is "F32", "BF16", ..."""

    file: Path
    name: str
    shape: tuple[int, ...]
    dtype: str


def read_headers(folder: Path) -> dict[str, StoredTensor]:
    """Return every tensor of a folder by its name, from the single file or from all shards of the index."""
    beside = adapter_beside_weights(folder)
    if beside is not None and ((folder / SINGLE).is_file() or (folder / INDEX).is_file()):
        raise CheckpointError(f"{folder}: expected a checkpoint of one model, got {beside}")
    return {tensor.name: tensor for file in _weight_files(folder) for tensor in _read_header(file)}


def _weight_files(folder: Path) -> list[Path]:
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    if (folder / INDEX).is_file():
        names = sorted(set(_weight_map(folder / INDEX).values()))
        return [inside(folder, name, named_by=folder / INDEX) for name in names]
    raise CheckpointError(f"{folder}: expected {SINGLE} or {INDEX}, got {foreign_folder(folder)}")


def _weight_map(index: Path) -> dict[str, str]:
    names = read_object(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise CheckpointError(f"{index}: expected weight_map, an object from tensor to file name")
    return {str(tensor): str(file) for tensor, file in names.items()}


def _read_header(file: Path) -> list[StoredTensor]:
    if not file.is_file():
        raise CheckpointError(f"{file}: {INDEX} names this file, but it is missing; download it again")
    try:
        with safe_open(file, framework="pt") as tensors:
            names = list(tensors.keys())
            slices = [tensors.get_slice(name) for name in names]
            return [
                StoredTensor(file=file, name=name, shape=tuple(part.get_shape()), dtype=part.get_dtype())
                for name, part in zip(names, slices, strict=True)
            ]
    except SafetensorError as error:
        if is_lfs_pointer(file):
            raise CheckpointError(f"{file}: expected safetensors, got {LFS}") from None
        raise CheckpointError(
            f"{file}: expected safetensors, got a header that cannot be read: {error}"
        ) from None
