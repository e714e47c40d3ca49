"""The losses that the reference trains with, from the probabilities that an output holds.

A job writes probabilities, not logits: those of all labels, or only the best ones. A loss is null where
those of some row are not all there.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpusmill.jobs.evaluate.answers import items

LEAST = float(np.finfo(np.float32).eps)
"""What a probability of 0 counts as, or one wrong row could make a loss infinite; scikit-learn's figure."""


class MeanLoss:
    """The mean of -log p over what is added, in float64; None once one p is not known."""

    def __init__(self, *, known: bool = True) -> None:
        self._known = known
        self._sum = 0.0
        self._count = 0

    def add(self, probabilities: pa.Array | pa.ChunkedArray) -> None:
        """Take probabilities of what is right; null where the output does not hold one."""
        self._known = self._known and not probabilities.null_count
        if self._known:
            p: np.ndarray[Any, Any] = np.clip(probabilities.cast(pa.float64()).to_numpy(), LEAST, 1.0)
            self._sum -= float(np.log(p).sum())
            self._count += len(p)

    def value(self) -> float | None:
        """Return the mean."""
        return self._sum / self._count if self._known and self._count else None


def of_the_best(rows: pa.Table, gold: pa.Array, predicted: pa.DictionaryArray) -> pa.Array:
    """Return the gold label's probability, of rows with the best label's alone: of two labels either's."""
    score = rows["score"].combine_chunks().cast(pa.float64())
    best = pc.equal(gold, predicted.cast(pa.string()))
    other = pc.and_(len(predicted.dictionary) == 2, pc.is_in(gold, predicted.dictionary))
    return pc.if_else(best, score, pc.if_else(other, pc.subtract(1.0, score), None))


def of_the_gold(lists: pa.Array, gold: pa.Array) -> pa.Array:
    """Return the gold label's probability among those that a row lists; null where it is not one of them."""
    listed = items(lists, ("label", "score"))
    rows = listed["row"]
    right = listed.filter(pc.equal(gold.take(rows), listed["label"]))
    found = np.full(len(lists), np.nan)
    found[right["row"].to_numpy()] = right["score"].to_numpy()
    return pa.array(found, from_pandas=True)


def of_each_label(gold: pa.Table, listed: pa.Table) -> pa.Array:
    """Return how likely each label's right answer was, yes or no; null for a gold label that is not listed.

    `gold` has `row` and `label`, `listed` a `score` as well.
    """
    sides = [
        gold.append_column("score", pa.nulls(len(gold), pa.float32())).append_column(
            "gold", pa.repeat(True, len(gold))
        ),
        listed.append_column("gold", pa.repeat(False, len(listed))),
    ]
    found = (
        pa.concat_tables(sides)
        .group_by(["row", "label"], use_threads=False)
        .aggregate([("score", "max"), ("gold", "any")])
    )
    score = found["score_max"].cast(pa.float64())
    return pc.if_else(found["gold_any"], score, pc.subtract(1.0, score))
