"""Embeddings of any stored type as unit vectors. N rows, D numbers a row, B bytes a row.

Packed bits become signs: their cosine is `1 - 2 * hamming / D`, so that one order serves all types.
"""

from typing import Any

import numpy as np
import pyarrow as pa

Array = np.ndarray[Any, Any]


def stored(column: pa.FixedSizeListArray) -> Array:
    """Return (N, D) numbers, or (N, B) bytes, as they are stored; no row may be null."""
    flat = column.flatten()
    return np.asarray(flat.to_numpy(zero_copy_only=False)).reshape(len(column), column.type.list_size)


def unit(vectors_ND: Array, *, bits: bool) -> Array:
    """Return (N, D) float32 of length one; a vector of zeros stays one."""
    if bits:
        signs = np.unpackbits(np.ascontiguousarray(vectors_ND).view(np.uint8), axis=1)
        vectors_ND = signs.astype(np.float32) * 2 - 1
    numbers = vectors_ND.astype(np.float32)
    lengths = np.linalg.norm(numbers, axis=1, keepdims=True)
    return np.asarray(numbers / np.where(lengths == 0, 1, lengths), np.float32)
