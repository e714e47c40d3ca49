"""Multiple choice: `choice`, counted from 0, and the `scores` of all choices."""

from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

from corpusmill.jobs.errors import EvaluateError
from corpusmill.jobs.evaluate.losses import MeanLoss
from corpusmill.jobs.evaluate.request import Metrics, Request, Scoring
from corpusmill.jobs.extras import extra


class ChoiceScores:
    """The share of right choices, and the cross-entropy over a row's choices."""

    def __init__(self) -> None:
        self._rows = self._right = 0
        self._loss = MeanLoss()

    def add(self, rows: pa.Table) -> None:
        """Count right choices; refuse a label that is not among its row's choices."""
        scores, label = rows["score"].combine_chunks(), rows["label"].combine_chunks().cast(pa.int64())
        counts = pc.list_value_length(scores)
        outside = pc.or_(pc.less(label, 0), pc.greater_equal(label, counts))
        if pc.any(outside).as_py():
            last, got = counts.filter(outside)[0].as_py() - 1, label.filter(outside)[0]
            raise EvaluateError(f"expected a choice from 0 to {last}, got {got}").at("--labels")
        self._rows += len(rows)
        self._right += pc.sum(pc.equal(rows["prediction"], rows["label"])).as_py()
        starts = pc.subtract(pc.cumulative_sum(counts), counts)
        self._loss.add(scores.flatten().take(pc.add(starts, label)))

    def metrics(self) -> Metrics:
        """Return the share and the loss."""
        return {"accuracy": self._right / self._rows, "loss": self._loss.value()}


def multiple_choice(request: Request) -> Scoring:
    """Return the scoring of `choice` against integers."""
    if not pa.types.is_integer(request.label_type):
        raise request.refuse_labels("integers that count the choices from 0")
    return Scoring(request.column("choice"), ChoiceScores(), score=request.column("scores"))


# Next-sentence prediction: `is_next`, whether the second text follows the first.


class NextSentenceScores:
    """Accuracy, precision, recall and F1 of pairs predicted as neighbours, and the cross-entropy."""

    def __init__(self) -> None:
        self._pairs: Counter[tuple[bool, bool]] = Counter()
        self._loss = MeanLoss()

    def add(self, rows: pa.Table) -> None:
        """Count pairs of label and prediction."""
        counted = rows.group_by(["label", "prediction"]).aggregate([([], "count_all")])
        for row in counted.to_pylist():
            self._pairs[row["label"], row["prediction"]] += row["count_all"]
        score = rows["score"].cast(pa.float64())  # of a next sentence, whatever the prediction
        self._loss.add(pc.if_else(rows["label"], score, pc.subtract(1.0, score)))

    def metrics(self) -> Metrics:
        """Return the scores of the counts."""
        gold, predicted = zip(*self._pairs, strict=True)
        weights = list(self._pairs.values())
        sklearn = extra("sklearn.metrics", "evaluate")
        scores = sklearn.precision_recall_fscore_support(
            gold, predicted, labels=[True], average="macro", sample_weight=weights, zero_division=0
        )
        return {
            "accuracy": float(sklearn.accuracy_score(gold, predicted, sample_weight=weights)),
            **dict(zip(("precision", "recall", "f1"), map(float, scores[:3]), strict=True)),
            "loss": self._loss.value(),
        }


def next_sentence(request: Request) -> Scoring:
    """Return the scoring of `is_next` against booleans; integers are refused, as 0 and 1 are ambiguous."""
    if not pa.types.is_boolean(request.label_type):
        raise request.refuse_labels("booleans, true for a next sentence,")
    return Scoring(request.column("is_next"), NextSentenceScores(), score=request.column("score"))
