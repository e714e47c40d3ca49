"""From windows back to texts: vectors of windows combined, tokens taken from the window that sees most.

A token of two windows counts where it has the most context: the smaller of its distances to the window's
ends, an end of the text itself being no limit. With windows that share a stretch, that is the middle of it.
"""

from collections.abc import Callable, Mapping

import numpy as np

from corpusmill.pipeline.encode.sequences import Sequences
from corpusmill.pipeline.ragged import Array, Int, ranges

COMBINATIONS = ("mean", "max", "first")


def combine(values: Array, sequences: Sequences, how: str) -> Array:
    """Return one row of (N, D) values per group of windows: (G, D)."""
    groups = sequences.groups
    if len(groups) - 1 == len(sequences):
        return values
    return _COMBINERS[how](values, groups, sequences.stop - sequences.start)


def owned_tokens(sequences: Sequences) -> tuple[Int, Int]:
    """Return where the text tokens of each group are among all tokens (K,), and their numbers a group (G,).

    Every token that some window holds appears once, in the order of the text.
    """
    groups = sequences.groups
    begin, end = sequences.start.copy(), sequences.stop.copy()
    later = np.setdiff1d(np.arange(1, len(sequences)), groups)
    middle = (sequences.stop[later - 1] - 1 + sequences.start[later]) // 2 + 1
    end[later - 1] = middle
    begin[later] = middle
    counts = end - begin
    places = sequences.tokens.offsets[:-1] + sequences.at + begin - sequences.start
    return ranges(places, counts), np.add.reduceat(counts, groups[:-1]) if len(counts) else counts


def _mean(values: Array, groups: Int, lengths: Int) -> Array:
    """Weigh each window by its number of the text's tokens."""
    weights = np.maximum(lengths, 1).astype(np.float64)[:, None]
    summed = np.add.reduceat(values * weights, groups[:-1], axis=0)
    mean: Array = summed / np.add.reduceat(weights, groups[:-1], axis=0)
    return mean.astype(values.dtype)


def _max(values: Array, groups: Int, _lengths: Int) -> Array:
    greatest: Array = np.maximum.reduceat(values, groups[:-1], axis=0)
    return greatest


def _first(values: Array, groups: Int, _lengths: Int) -> Array:
    return values[groups[:-1]]


_COMBINERS: Mapping[str, Callable[[Array, Int, Int], Array]] = {"mean": _mean, "max": _max, "first": _first}
