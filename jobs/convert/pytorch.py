"""PyTorch checkpoints: `pytorch_model.bin` is a pickle; torch's restricted unpickler reads tensors only."""

import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from corpusmill.jobs.convert.names import FAMILIES
from corpusmill.jobs.convert.spec import Framework, check_size
from corpusmill.jobs.errors import ConvertError
from corpusmill.pipeline.errors import first_line

ZIP_START = b"PK\x03\x04"


def _read(file: Path) -> Iterator[tuple[str, Tensor]]:
    """Yield tensors, memory-mapped from the file in all but torch's oldest format."""
    state = _load(file)
    if not isinstance(state, Mapping):
        raise ConvertError(f"{file}: expected an object from name to tensor, got {type(state).__name__}")
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor) or _is_special(tensor):
            raise ConvertError(f"{file}: {name}: expected a plain tensor, got {type(tensor).__name__}")
        check_size(name, tensor.numel() * tensor.element_size(), file)
        yield name, tensor.detach()


def _load(file: Path) -> Any:
    with file.open("rb") as opened:
        zipped = opened.read(len(ZIP_START)) == ZIP_START
    try:
        with warnings.catch_warnings():
            # torch warns about unusual pickles; those that cannot be read become errors below.
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL (\S+)", str(error))
        found = f"it imports {wanted[1]}" if wanted else "it is damaged or holds other objects"
        raise ConvertError(
            f"{file}: expected a pickle of tensors only, but {found}; no code of it was run"
        ) from None
    except Exception as error:
        # A damaged pickle or zip can fail in any way.
        raise ConvertError(
            f"{file}: expected a PyTorch checkpoint, got a file that cannot be read: {first_line(error)}"
        ) from None


def _is_special(tensor: Tensor) -> bool:
    return tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta


SPEC = Framework(
    name="PyTorch",
    file="pytorch_model.bin",
    index="pytorch_model.bin.index.json",
    families=tuple(FAMILIES),
    read=_read,
    # BERT's first TensorFlow checkpoints called a norm's weight gamma and its bias beta.
    renames=((r"\.gamma$", ".weight"), (r"\.beta$", ".bias")),
)
