"""What an evaluation is asked for, and what a kind of predictions answers with."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from corpusmill.jobs.errors import EvaluateError
from corpusmill.jobs.evaluate.finished import FinishedOutput, Model

Metrics = dict[str, Any]
"""What `--json` prints: numbers, or None where one is not defined, in dictionaries and lists."""

THRESHOLD = 0.5


@dataclass(frozen=True)
class Request:
    """One model's predictions against the label column `labels`; `pairs` names the column of pairs."""

    output: FinishedOutput
    model: Model
    labels: str
    pairs: str | None = None
    threshold: float | None = None

    @property
    def label_type(self) -> pa.DataType:
        """The type of the label column."""
        return self.output.schema.field(self.labels).type

    def column(self, *names: str) -> str:
        """Return the first of a task's columns that the output has, with the model's prefix."""
        there = self.output.schema.names
        for name in names:
            if self.model.prefix + name in there:
                return self.model.prefix + name
        raise EvaluateError(
            f"{self.output.folder.url}: expected a column {self.model.prefix}{names[0]} of "
            f"{self.model.task}, got {', '.join(there)}"
        ).at("--model")

    def refuse_labels(self, expected: str) -> EvaluateError:
        """Return the error for a label column of the wrong type."""
        return EvaluateError(
            f"expected {expected} for {self.model.task}, got column {self.labels!r} of type {self.label_type}"
        ).at("--labels")


class Scorer(Protocol):
    """Takes rows as they are read, keeps as little of them as it can, and measures at the end."""

    def add(self, rows: pa.Table) -> None:
        """Take rows with `prediction` and `label`, `score` and `pair` where there are such columns."""

    def metrics(self) -> Metrics:
        """Measure what was added: at least one row."""


def unchanged(column: pa.Array) -> pa.Array:
    """Return a column as it is."""
    return column


@dataclass(frozen=True)
class Kind:
    """How predictions are scored.

    `predictions` and `labels` turn a file's columns into what the scorer takes, with null where there is no
    prediction or no label. A null label is one of its own where `null_is_a_label`. `uses` are the arguments
    beside the label column that mean something here. `score` is a column beside the predictions, which says
    how likely they are.
    """

    column: str
    scorer: Scorer
    score: str | None = None
    predictions: Callable[[pa.Array], pa.Array] = unchanged
    labels: Callable[[pa.Array], pa.Array] = unchanged
    null_is_a_label: bool = False
    uses: tuple[str, ...] = ()
