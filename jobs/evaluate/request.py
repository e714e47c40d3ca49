"""The records of an evaluation: the request, and how a task's predictions are scored."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from corpusmill.jobs.errors import EvaluateError
from corpusmill.jobs.evaluate.finished import FinishedModel, FinishedOutput

Metrics = dict[str, Any]
"""The object that `--json` prints: dictionaries and lists of numbers; None is a score that is not defined."""

DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True)
class Request:
    """One model and the label column `labels` of an output.

    `pairs` is the column that names pairs, `queries` the one that names the query of a row; None means the
    column of the job's texts.
    """

    output: FinishedOutput
    model: FinishedModel
    labels: str
    pairs: str | None = None
    threshold: float | None = None
    queries: str | None = None

    @property
    def label_type(self) -> pa.DataType:
        """The type of the label column."""
        return self.output.schema.field(self.labels).type

    def column(self, *names: str) -> str:
        """Return the first of a task's columns that the output has, with the model's prefix."""
        present = self.output.schema.names
        for name in names:
            if self.model.prefix + name in present:
                return self.model.prefix + name
        raise EvaluateError(
            f"{self.output.folder.url}: expected a column {self.model.prefix}{names[0]} of "
            f"{self.model.task}, got {', '.join(present)}"
        ).at("--model")

    def query_column(self) -> str:
        """Return the column that names the query of each row; refuse an output that did not keep it."""
        column = self.output.text if self.queries is None else self.queries
        if column not in self.output.kept:
            raise EvaluateError(
                f"expected a column that names the query of each row; the job did not keep its text column "
                f"{column!r}. Name another one that it kept ({', '.join(self.output.kept) or 'it kept none'})"
            ).at("--queries")
        return column

    def refuse_labels(self, expected: str) -> EvaluateError:
        """Return the error for a label column of the wrong type."""
        return EvaluateError(
            f"expected {expected} for {self.model.task}, got column {self.labels!r} of type {self.label_type}"
        ).at("--labels")


class Scorer(Protocol):
    """An accumulator of rows, which keeps as little of them as it can and computes metrics at the end."""

    def add(self, rows: pa.Table) -> None:
        """Add rows with `prediction` and `label`; with `score`, `pair` and `query` if the task uses them."""

    def metrics(self) -> Metrics:
        """Return the metrics of all added rows, of which there is at least one."""


def unchanged(column: pa.Array) -> pa.Array:
    """Return a column as it is."""
    return column


@dataclass(frozen=True)
class Scoring:
    """The way to score one task's predictions.

    `predictions` and `labels` convert a file's columns for the scorer; null is a missing prediction or label,
    but with `null_is_a_label` a null label counts as a label. `score` is the column of the predictions'
    probabilities. `uses` are the optional arguments of `evaluate` that this task uses.
    """

    column: str
    scorer: Scorer
    score: str | None = None
    predictions: Callable[[pa.Array], pa.Array] = unchanged
    labels: Callable[[pa.Array], pa.Array] = unchanged
    null_is_a_label: bool = False
    uses: tuple[str, ...] = ()
