"""Flax checkpoints: `flax_model.msgpack` has nested maps whose leaves are arrays in Flax's extension types.

The encoding is that of flax.serialization: type 1 holds shape, dtype and bytes; an array above 1 GiB is
a map of pieces.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from corpusmill.jobs.convert.names import WORD_EMBEDDINGS
from corpusmill.jobs.convert.spec import Framework, SourceLayout, Tensors
from corpusmill.jobs.errors import ConvertError
from corpusmill.jobs.extras import extra

ARRAY = 1
PIECES = "__msgpack_chunked_array__"
DTYPES = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}
RENAMES = ((r"^params/", ""), (r"/(?:kernel|scale|embedding)$", "/weight"), (r"/", "."))
POSITIONS = "embeddings.position_embeddings.weight"


def _read(file: Path) -> Iterator[tuple[str, Tensor]]:
    msgpack = extra("msgpack", "convert", file=file)
    try:
        tree = msgpack.unpackb(file.read_bytes(), ext_hook=_decode_extension, strict_map_key=False)
        yield from _leaves(tree, "")
    except (ValueError, KeyError, TypeError, RecursionError, msgpack.UnpackException) as error:
        reason = str(error) or type(error).__name__
        raise ConvertError(
            f"{file}: expected a Flax checkpoint, got a file that cannot be read: {reason}"
        ) from None


def _leaves(node: Any, path: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(node, Tensor):
        yield path, node
    elif isinstance(node, dict) and PIECES in node:
        yield path, _concatenated(node)
    elif isinstance(node, dict):
        for key, child in node.items():
            yield from _leaves(child, f"{path}/{key}" if path else str(key))
    else:
        raise ValueError(f"{path or 'the file'}: expected a map or an array, got {type(node).__name__}")


def _decode_extension(code: int, payload: bytes) -> Tensor:
    """Return the array of an extension type; refuse any other type."""
    if code != ARRAY:
        raise ValueError(f"expected arrays (extension type {ARRAY}), got type {code}")
    shape, dtype, data = extra("msgpack", "convert").unpackb(payload)
    return _array(tuple(shape), dtype, data)


def _array(shape: tuple[int, ...], dtype: str, data: bytes) -> Tensor:
    if dtype not in DTYPES:
        raise ValueError(f"expected arrays of {', '.join(DTYPES)}, got {dtype}")
    number = DTYPES[dtype]
    if min(shape, default=0) < 0 or math.prod(shape) * number.itemsize != len(data):
        raise ValueError(f"expected an array of shape {list(shape)} and {dtype}, got {len(data)} bytes")
    # Integers of the same width, because numpy has no bfloat16; a copy, because torch needs it writable.
    whole = np.frombuffer(data, dtype=f"<i{number.itemsize}").copy()
    return torch.from_numpy(whole).view(number).reshape(shape)


def _concatenated(node: dict[str, Any]) -> Tensor:
    """Return an array above 1 GiB; `shape` and `chunks` are maps from "0", "1", ... to their parts."""
    shape, pieces = (list(node[key].values()) for key in ("shape", "chunks"))
    return torch.cat([piece.reshape(-1) for piece in pieces]).reshape(shape)


def _derived(tensors: Tensors, config: dict[str, Any]) -> Tensors:
    """Return DistilBERT's sinusoidal positions, which PyTorch and TensorFlow store and Flax computes."""
    words = next((name for name in tensors if name.endswith(WORD_EMBEDDINGS)), None)
    positions = words and words.removesuffix(WORD_EMBEDDINGS) + POSITIONS
    if not config.get("sinusoidal_pos_embds") or not words or not positions or positions in tensors:
        return {}
    width, count = tensors[words].shape[1], int(config.get("max_position_embeddings", 512))
    pair = np.arange(width)[np.newaxis, :] // 2
    angles = np.arange(count)[:, np.newaxis] / np.power(10000, 2 * pair / width)
    table = np.where(np.arange(width) % 2 == 0, np.sin(angles), np.cos(angles))
    return {positions: torch.from_numpy(table).to(tensors[words].dtype)}


SPEC = Framework(
    name="Flax",
    file="flax_model.msgpack",
    index=None,
    families=("bert", "distilbert"),
    read=_read,
    renames=RENAMES,
    layouts=(SourceLayout("/kernel", 2, (1, 0)),),
    derived=_derived,
)
