"""Whether the second text follows the first: `is_next`."""

from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

from corpusmill.jobs.evaluate.extras import extra
from corpusmill.jobs.evaluate.losses import MeanLoss
from corpusmill.jobs.evaluate.request import Kind, Metrics, Request


class NextSentence:
    """Accuracy, precision, recall and F1 of pairs said to be neighbours, and the cross-entropy."""

    def __init__(self) -> None:
        self._pairs: Counter[tuple[bool, bool]] = Counter()
        self._loss = MeanLoss()

    def add(self, rows: pa.Table) -> None:
        """Count."""
        counted = rows.group_by(["label", "prediction"]).aggregate([([], "count_all")])
        for row in counted.to_pylist():
            self._pairs[row["label"], row["prediction"]] += row["count_all"]
        score = rows["score"].cast(pa.float64())  # of being the next one, whatever the prediction
        self._loss.add(pc.if_else(rows["label"], score, pc.subtract(1.0, score)))

    def metrics(self) -> Metrics:
        """Score the counts."""
        gold, predicted = zip(*self._pairs, strict=True)
        weights = list(self._pairs.values())
        sklearn = extra("sklearn.metrics")
        scores = sklearn.precision_recall_fscore_support(
            gold, predicted, labels=[True], average="macro", sample_weight=weights, zero_division=0
        )
        return {
            "accuracy": float(sklearn.accuracy_score(gold, predicted, sample_weight=weights)),
            **dict(zip(("precision", "recall", "f1"), map(float, scores[:3]), strict=True)),
            "loss": self._loss.value(),
        }


def next_sentence(request: Request) -> Kind:
    """Score `is_next` against booleans; an integer would leave open whether 0 or 1 is the next one."""
    if not pa.types.is_boolean(request.label_type):
        raise request.refuse_labels("booleans, true for a next sentence,")
    return Kind(request.column("is_next"), NextSentence(), score=request.column("score"))
