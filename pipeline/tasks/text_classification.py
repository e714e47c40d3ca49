"""Labels of a text or a pair: `label` and `score`; `labels` for several; `value` for regression.

Scores are probabilities: softmax over the labels, or a sigmoid each for a multi-label checkpoint and for
a single label, as the reference's text-classification pipeline computes them. A cross-encoder of
sentence-transformers states its own function, and the job may name one.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from corpusmill.models import Checkpoint, Model, PackedTokens
from corpusmill.pipeline.encode.items import Items
from corpusmill.pipeline.encode.prompts import prompt_of
from corpusmill.pipeline.encode.sequences import Layout, Sequences, row_pairs
from corpusmill.pipeline.encode.windows import combine
from corpusmill.pipeline.ragged import Array, Ragged
from corpusmill.pipeline.tasks.columns import RANKED, list_array, ranked_labels
from corpusmill.pipeline.tasks.score_functions import SCORE_FUNCTIONS, classification_function
from corpusmill.pipeline.tasks.task import Needs, Prepared, Values


class TextClassificationTask:
    """Options: `top_k` (1 by default; an int, or None for all labels), `threshold` (least score listed),
    `function_to_apply` to the logits, and `prompt` before each text, or the first of a pair.

    With `top_k` 1 the best label is written whatever its score. A multi-label checkpoint lists all its
    labels, best first, unless `top_k` or `threshold` excludes some. `combine` is the combination of the
    scores of windows; of a pair the first text is windowed.
    """

    head: ClassVar[str] = "text-classification"
    options: ClassVar[tuple[str, ...]] = ("top_k", "threshold", "combine", "function_to_apply", "prompt")

    def __init__(self, checkpoint: Checkpoint, options: Mapping[str, Any]) -> None:
        self._labels = checkpoint.labels
        self._problem = checkpoint.problem_type
        multi = self._problem == "multi_label_classification"
        self._top_k: int | None = options.get("top_k", None if multi else 1)
        least = options.get("threshold")
        self._threshold: float = -math.inf if least is None else least
        self._combine = options.get("combine", "mean")
        self._function = SCORE_FUNCTIONS[
            classification_function(checkpoint, options.get("function_to_apply"))
        ]
        prompt = prompt_of(checkpoint, options.get("prompt"))
        self.needs = Needs(second="optional", cuts_longest=True, prompt=prompt)
        self._single = not multi and self._top_k == 1
        self.schema = pa.schema(self._fields())

    def sequences(self, items: Items, layout: Layout) -> Sequences:
        """Lay out each text, or each pair."""
        return text_or_pair(items, layout)

    def values(self, model: Model, packed: PackedTokens) -> Values:
        """Return (n, L) float32 scores."""
        return Values((self._function(model(packed).logits.float()).cpu().numpy(),))

    def columns(self, results: tuple[Ragged, ...], unit: Prepared) -> list[pa.Array]:
        """Return the columns."""
        scores = combine(results[0].values, unit.sequences, self._combine)
        if self._problem == "regression":
            return [self._regression(scores)]
        if self._single:
            return self._best(scores)
        return [ranked_labels(scores, self._labels, top_k=self._top_k, threshold=self._threshold)]

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
        return [pa.field("labels", RANKED)]

    def _regression(self, values: Array) -> pa.Array:
        flat = pa.array(values.ravel())
        if len(self._labels) == 1:
            return flat
        return list_array(flat, np.full(len(values), values.shape[1]), self.schema.field(0).type)

    def _best(self, scores: Array) -> list[pa.Array]:
        # The dictionary always holds all labels in the checkpoint's order, so files of a job agree.
        codes = pa.array(scores.argmax(-1).astype(np.int32))
        labels = pa.array(self._labels, pa.string())
        return [pa.DictionaryArray.from_arrays(codes, labels), pa.array(scores.max(-1))]


def text_or_pair(items: Items, layout: Layout) -> Sequences:
    """Lay out each text, or each pair if there is a second column."""
    if "text_pair" not in items.rows:
        return layout.singles(items.text.ids, items.rows["text"])
    pairs = row_pairs(items.rows["text"], items.rows["text_pair"])
    second = items.tables["text_pair"]
    if layout.stride is None:
        return layout.pairs_cut_longest(items.text, second, pairs)
    return layout.pairs_in_windows(items.text.ids, second.ids, pairs)
