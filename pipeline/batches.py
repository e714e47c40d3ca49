"""A unit's sequences to packed batches: ordered by length, cut at a token budget, order recoverable.

Which sequences share a batch depends on the unit alone, so the same unit gives the same bytes everywhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from corpusmill.pipeline.ragged import Int, ranges
from corpusmill.pipeline.sequences import Sequences


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Some sequences of a unit, packed: their numbers `rows` (n,), `ids` (T,) flat, `lengths` (n,).

    `types` (T,) are the token types, None where all are 0.
    """

    rows: Int
    ids: Int
    lengths: Int
    types: Int | None


def token_batches(sequences: Sequences, *, tokens_per_batch: int) -> Iterator[TokenBatch]:
    """Yield all sequences, longest first, in batches of at most `tokens_per_batch` tokens.

    A single sequence longer than the budget is a batch of its own.
    """
    tokens = sequences.tokens
    lengths = tokens.lengths
    rows = np.argsort(-lengths, kind="stable")
    for start, stop in _cuts(lengths[rows], tokens_per_batch):
        chosen = rows[start:stop]
        where = ranges(tokens.offsets[:-1][chosen], lengths[chosen])
        types = None if sequences.types is None else sequences.types[where]
        yield TokenBatch(chosen, tokens.values[where], lengths[chosen], types)


def _cuts(lengths: Int, budget: int) -> Iterator[tuple[int, int]]:
    ends = np.cumsum(lengths)
    start, total = 0, 0
    while start < len(lengths):
        stop = max(start + 1, int(np.searchsorted(ends, total + budget, side="right")))
        yield start, stop
        start, total = stop, int(ends[stop - 1])
