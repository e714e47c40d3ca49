"""The token lists of a unit to packed batches: ordered by length, cut at a token budget, order recoverable.

Which rows share a batch depends on the unit alone, so the same unit gives the same bytes on every worker.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

Int = np.ndarray[Any, np.dtype[np.integer[Any]]]


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Some rows of a unit, packed: their positions `rows` (n,) in the unit, `ids` (T,) flat, `lengths` (n,).

    `types` (T,) are the token types of pairs, else None.
    """

    rows: Int
    ids: Int
    lengths: Int
    types: Int | None


def token_batches(
    ids: pa.ListArray, types: pa.ListArray | None, *, tokens_per_batch: int
) -> Iterator[TokenBatch]:
    """Yield all rows that have tokens, longest first, in batches of at most `tokens_per_batch` tokens.

    A single row longer than the budget is a batch of its own.
    """
    offsets = np.asarray(ids.offsets, np.int64)
    lengths = np.diff(offsets)
    rows = np.flatnonzero(with_tokens(ids))
    rows = rows[np.argsort(-lengths[rows], kind="stable")]
    flat_ids = np.asarray(ids.values)
    flat_types = None if types is None else np.asarray(types.values)
    for start, stop in _cuts(lengths[rows], tokens_per_batch):
        chosen = rows[start:stop]
        where = _token_positions(offsets[chosen], lengths[chosen])
        yield TokenBatch(
            chosen, flat_ids[where], lengths[chosen], None if flat_types is None else flat_types[where]
        )


def with_tokens(ids: pa.ListArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Mark the rows that a model can say something about: neither null nor without any token."""
    return np.asarray(ids.is_valid()) & (np.diff(np.asarray(ids.offsets)) > 0)


def _cuts(lengths: Int, budget: int) -> Iterator[tuple[int, int]]:
    start, total = 0, 0
    for index, length in enumerate(lengths.tolist()):
        if total and total + length > budget:
            yield start, index
            start, total = index, 0
        total += length
    if start < len(lengths):
        yield start, len(lengths)


def _token_positions(starts: Int, lengths: Int) -> Int:
    """Return where the tokens of the rows lie in the flat array, row after row."""
    ends = np.cumsum(lengths)
    positions: Int = np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - lengths), lengths)
    return positions
