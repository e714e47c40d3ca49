"""The chosen one of several choices: `choice`, counted from 0, and the `scores` of all."""

import pyarrow as pa
import pyarrow.compute as pc

from corpusmill.jobs.evaluate.losses import MeanLoss
from corpusmill.jobs.evaluate.problems import EvaluateError
from corpusmill.jobs.evaluate.request import Kind, Metrics, Request


class Choices:
    """The share of rows where the right choice was made, and the cross-entropy over a row's choices."""

    def __init__(self) -> None:
        self._rows = self._right = 0
        self._loss = MeanLoss()

    def add(self, rows: pa.Table) -> None:
        """Count; a label that is none of its row's choices is an error, not a wrong choice."""
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


def multiple_choice(request: Request) -> Kind:
    """Score `choice` against integers."""
    if not pa.types.is_integer(request.label_type):
        raise request.refuse_labels("integers that count the choices from 0")
    return Kind(request.column("choice"), Choices(), score=request.column("scores"))
