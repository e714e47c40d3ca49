"""From windows back to texts: combined vectors of windows, and one result per token.

A token that is in two windows is taken from the window with more context. The context is the smaller
distance to the ends of the window, where an end of the text is no limit. So two windows divide their common
tokens in the middle.
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


def owned_tokens(sequences: Sequences) -> tuple[Int, Int, Int]:
    """Return positions of text tokens among all tokens (K,), and each group's first token and number (G,).

    Every text token of a group appears once, in the order of the text, at its position in the window with
    most context. The first token is counted in the text: 0, or more where the text is cut on the left.
    """
    groups = sequences.groups
    begin, end = sequences.start.copy(), sequences.stop.copy()
    later = np.setdiff1d(np.arange(1, len(sequences)), groups)
    middle = (sequences.stop[later - 1] - 1 + sequences.start[later]) // 2 + 1
    end[later - 1] = middle
    begin[later] = middle
    counts = end - begin
    places = sequences.tokens.offsets[:-1] + sequences.at + begin - sequences.start
    if not len(counts):
        return ranges(places, counts), counts, counts
    return ranges(places, counts), begin[groups[:-1]], np.add.reduceat(counts, groups[:-1])


def _mean(values: Array, groups: Int, lengths: Int) -> Array:
    """Return the mean weighted by the number of text tokens of each window."""
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
