"""Regression: one number per row, `value`."""

from typing import Any

import numpy as np
import pyarrow as pa

from corpusmill.jobs.evaluate.label_scores import as_numbers, is_number
from corpusmill.jobs.evaluate.request import Metrics, Request, Scoring
from corpusmill.jobs.extras import extra

Vector = np.ndarray[Any, np.dtype[np.float64]]


class RegressionScores:
    """Correlations, mean absolute error, R2 and the loss, computed from all values: 16 bytes per row."""

    def __init__(self) -> None:
        self._predicted: list[np.ndarray[Any, Any]] = []
        self._gold: list[np.ndarray[Any, Any]] = []

    def add(self, rows: pa.Table) -> None:
        """Keep the values."""
        self._predicted.append(rows["prediction"].cast(pa.float64()).to_numpy())
        self._gold.append(rows["label"].to_numpy())

    def metrics(self) -> Metrics:
        """Return the scores; the loss is the squared error; R2 is None if all labels are equal."""
        predicted, gold = np.concatenate(self._predicted), np.concatenate(self._gold)
        sklearn = extra("sklearn.metrics", "evaluate")
        return {
            **correlations(predicted, gold),
            "mean_absolute_error": float(sklearn.mean_absolute_error(gold, predicted)),
            "r2": float(sklearn.r2_score(gold, predicted)) if gold.min() < gold.max() else None,
            "loss": float(sklearn.mean_squared_error(gold, predicted)),
        }


def regression(request: Request, column: str) -> Scoring:
    """Return the scoring of a column `value` against numbers."""
    if not is_number(request.label_type):
        raise request.refuse_labels("numbers")
    return Scoring(column, RegressionScores(), labels=as_numbers)


# Correlations by scipy.


def correlations(x: Vector, y: Vector) -> dict[str, float | None]:
    """Return Pearson's and Spearman's coefficient; None if a side has fewer than two different values."""
    if any(len(side) < 2 or side.min() == side.max() for side in (x, y)):
        return {"pearson": None, "spearman": None}
    stats = extra("scipy.stats", "evaluate")
    return {
        "pearson": float(stats.pearsonr(x, y).statistic),
        "spearman": float(stats.spearmanr(x, y).statistic),
    }
