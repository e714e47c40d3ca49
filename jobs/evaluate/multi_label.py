"""Any number of labels a row, of those in `labels` with a score of at least the threshold."""

import pyarrow as pa
import pyarrow.compute as pc

from corpusmill.jobs.evaluate.label_scores import Outcomes, several_label_scores
from corpusmill.jobs.evaluate.label_types import is_text, is_text_list
from corpusmill.jobs.evaluate.losses import MeanLoss, of_each_label
from corpusmill.jobs.evaluate.matching import differing_rows, items, matched, outcomes
from corpusmill.jobs.evaluate.problems import EvaluateError
from corpusmill.jobs.evaluate.request import THRESHOLD, Kind, Metrics, Request


class MultiLabel:
    """Subset accuracy (all labels of a row right, and no other), scores by label, and binary cross-entropy.

    The loss is known where rows list all labels, whatever their scores.
    """

    def __init__(self, threshold: float, *, lists_all: bool) -> None:
        self._threshold = threshold
        self._outcomes: Outcomes = Outcomes()
        self._rows = self._differing = 0
        self._loss = MeanLoss(known=lists_all)

    def add(self, rows: pa.Table) -> None:
        """Count the labels on either side."""
        scored = items(rows["prediction"].combine_chunks(), ("label", "score"))
        # Compared as float32, or 0.7 itself would be below a threshold of 0.7.
        likely = pc.greater_equal(scored["score"], pa.scalar(self._threshold, pa.float32()))
        predicted = scored.filter(likely).drop_columns("score")
        gold = items(_lists(rows["label"].combine_chunks()))
        found = matched(gold, predicted)
        self._loss.add(of_each_label(gold, scored))
        self._outcomes += outcomes(found)
        self._rows += len(rows)
        self._differing += differing_rows(found)

    def metrics(self) -> Metrics:
        """Score the counts."""
        return {
            "threshold": self._threshold,
            "subset_accuracy": 1 - self._differing / self._rows,
            **several_label_scores(self._outcomes),
            "loss": self._loss.value(),
        }


def multi_label(request: Request, column: str) -> Kind:
    """Score a column `labels` against lists of strings, or single strings."""
    if not is_text(request.label_type) and not is_text_list(request.label_type):
        raise request.refuse_labels("lists of strings, or strings,")
    threshold = THRESHOLD if request.threshold is None else request.threshold
    if not 0 <= threshold <= 1:
        raise EvaluateError(f"expected a score from 0 to 1, got {threshold}").at("--threshold")
    cuts = request.model.options
    lists_all = cuts.get("top_k") is None and not cuts.get("threshold")
    return Kind(column, MultiLabel(threshold, lists_all=lists_all), uses=("threshold",))


def _lists(labels: pa.Array) -> pa.Array:
    """Return a list a row."""
    if not is_text(labels.type):
        return labels
    return pa.ListArray.from_arrays(pa.array(range(len(labels) + 1), pa.int32()), labels)
