"""Transformers' training losses, computed from the probabilities in an output.

A job writes probabilities of all labels, or only of the best ones. A loss is null if a row lacks a
probability that it needs, or has raw scores instead.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpusmill.jobs.evaluate.answers import list_items

ROUNDING = 1e-3
"""The most by which a probability that was written can be above 1."""
SMALLEST_PROBABILITY = float(np.finfo(np.float32).eps)
"""Replaces a probability of 0, with which one wrong row would make the loss infinite; as in scikit-learn."""


class MeanLoss:
    """The mean of -log p over all added probabilities, in float64; None if one is null or out of range."""

    def __init__(self, *, known: bool = True) -> None:
        self._known = known
        self._sum = 0.0
        self._count = 0

    def add(self, probabilities: pa.Array | pa.ChunkedArray) -> None:
        """Add the probabilities of the right answers; null where the output does not have it."""
        self._known = self._known and not probabilities.null_count
        if self._known:
            stored: np.ndarray[Any, Any] = probabilities.cast(pa.float64()).to_numpy()
            self._known = bool(np.all((stored >= -ROUNDING) & (stored <= 1 + ROUNDING)))
            p = np.clip(stored, SMALLEST_PROBABILITY, 1.0)
            self._sum -= float(np.log(p).sum())
            self._count += len(p)

    def value(self) -> float | None:
        """Return the mean."""
        return self._sum / self._count if self._known and self._count else None


def gold_probability_from_best(rows: pa.Table, gold: pa.Array, predicted: pa.DictionaryArray) -> pa.Array:
    """Return the gold label's probability from the best label's; null if it cannot be derived.

    The other label's probability is known only if there are two labels.
    """
    score = rows["score"].combine_chunks().cast(pa.float64())
    best = pc.equal(gold, predicted.cast(pa.string()))
    other = pc.and_(len(predicted.dictionary) == 2, pc.is_in(gold, predicted.dictionary))
    return pc.if_else(best, score, pc.if_else(other, pc.subtract(1.0, score), None))


def gold_probability_from_list(lists: pa.Array, gold: pa.Array) -> pa.Array:
    """Return the gold label's probability from the row's list; null if the list does not have it."""
    listed = list_items(lists, ("label", "score"))
    rows = listed["row"]
    right = listed.filter(pc.equal(gold.take(rows), listed["label"]))
    found = np.full(len(lists), np.nan)
    found[right["row"].to_numpy()] = right["score"].to_numpy()
    return pa.array(found, from_pandas=True)


def label_probabilities(gold: pa.Table, listed: pa.Table) -> pa.Array:
    """Return the probability of each label's right answer, yes or no; null for a gold label not listed.

    `gold` has `row` and `label`, `listed` a `score` as well.
    """
    tables = [
        gold.append_column("score", pa.nulls(len(gold), pa.float32())).append_column(
            "gold", pa.repeat(True, len(gold))
        ),
        listed.append_column("gold", pa.repeat(False, len(listed))),
    ]
    found = (
        pa.concat_tables(tables)
        .group_by(["row", "label"], use_threads=False)
        .aggregate([("score", "max"), ("gold", "any")])
    )
    score = found["score_max"].cast(pa.float64())
    return pc.if_else(found["gold_any"], score, pc.subtract(1.0, score))
