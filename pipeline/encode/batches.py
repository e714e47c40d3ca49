"""From a unit's sequences to packed batches: sorted by length, cut at a token budget, order recoverable.

The batches depend on the unit alone, so the same unit gives the same bytes on every machine.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from corpusmill.pipeline.encode.sequences import Sequences
from corpusmill.pipeline.ragged import Int, ranges

LENGTH_CLASSES = (1, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""The least number of tokens of each length class; the last class is open."""

Counts = tuple[int, ...]


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


# The number of sequences per length class, which adds up over units and workers.


def count_lengths(lengths: "np.ndarray[Any, Any]") -> Counts:
    """Count lengths of at least one token by class."""
    classes = np.searchsorted(LENGTH_CLASSES, lengths, side="right") - 1
    return tuple(np.bincount(classes, minlength=len(LENGTH_CLASSES)).tolist())


def sum_counts(several: Iterable[Counts]) -> Counts:
    """Return the sums of counts; empty counts are left out."""
    return tuple(map(sum, zip(*(counts for counts in several if counts), strict=True)))
