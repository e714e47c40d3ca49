"""Labels of a text or a pair: `label` and `score`; `labels` for several; `value` for regression.

Scores are probabilities: softmax over the labels, or a sigmoid each for a multi-label checkpoint and for
a single label, as the reference's text-classification pipeline computes them.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from corpusmill.models import Checkpoint

Array = np.ndarray[Any, Any]


class TextClassificationTask:
    """Options: `top_k` (1 by default; an int, or None for all labels) and `threshold` (least score listed).

    With `top_k` 1 the best label is written whatever its score. A multi-label checkpoint lists all its
    labels, best first, unless `top_k` or `threshold` says fewer.
    """

    def __init__(self, checkpoint: Checkpoint, options: Mapping[str, Any]) -> None:
        self._labels = checkpoint.labels
        self._problem = checkpoint.problem_type
        multi = self._problem == "multi_label_classification"
        self._top_k: int | None = options.get("top_k", None if multi else 1)
        self._threshold: float = options.get("threshold") or 0.0
        self._single = not multi and self._top_k == 1
        self.schema = pa.schema(self._fields())

    def values(self, output: Any) -> Array:
        """Return (n, L) float32: probabilities, or for regression the values themselves."""
        logits = output.logits.float()
        if self._problem == "regression":
            return np.asarray(logits.cpu().numpy())
        # The softmax of a single logit, such as a reranker's, would always be 1.
        each = self._problem == "multi_label_classification" or len(self._labels) == 1
        scores = logits.sigmoid() if each else logits.softmax(-1)
        return np.asarray(scores.cpu().numpy())

    def columns(self, values: Array, present: Array) -> list[pa.Array]:
        """Return the columns for all rows."""
        if self._problem == "regression":
            return [self._regression(values, present)]
        if self._single:
            return self._best(values, present)
        return [self._ranked(values, present)]

    def _fields(self) -> list[pa.Field]:
        if self._problem == "regression":
            several = len(self._labels) > 1
            return [
                pa.field("values", pa.list_(pa.float32())) if several else pa.field("value", pa.float32())
            ]
        if self._single:
            return [
                pa.field("label", pa.dictionary(pa.int32(), pa.string())),
                pa.field("score", pa.float32()),
            ]
        return [pa.field("labels", pa.list_(pa.struct([("label", pa.string()), ("score", pa.float32())])))]

    def _regression(self, values: Array, present: Array) -> pa.Array:
        rows = iter(values.tolist() if len(self._labels) > 1 else values[:, 0].tolist())
        return pa.array([next(rows) if there else None for there in present], self.schema.field(0).type)

    def _best(self, values: Array, present: Array) -> list[pa.Array]:
        index = np.zeros(len(present), np.int32)
        score = np.zeros(len(present), np.float32)
        index[present] = values.argmax(-1)
        score[present] = values.max(-1, initial=0.0)
        # The dictionary always holds all labels in the checkpoint's order, so files of a job agree.
        codes = pa.array(index, mask=~present)
        return [
            pa.DictionaryArray.from_arrays(codes, pa.array(self._labels, pa.string())),
            pa.array(score, mask=~present),
        ]

    def _ranked(self, values: Array, present: Array) -> pa.Array:
        order = np.argsort(-values, axis=-1, kind="stable")[:, : self._top_k]
        ranked = iter(
            [
                [
                    {"label": self._labels[i], "score": float(row[i])}
                    for i in best
                    if row[i] >= self._threshold
                ]
                for row, best in zip(values, order.tolist(), strict=True)
            ]
        )
        return pa.array([next(ranked) if there else None for there in present], self.schema.field(0).type)
