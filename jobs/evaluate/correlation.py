"""Correlations by scipy."""

from typing import Any

import numpy as np

from corpusmill.jobs.evaluate.extras import extra

Vector = np.ndarray[Any, np.dtype[np.float64]]


def correlations(x: Vector, y: Vector) -> dict[str, float | None]:
    """Return Pearson's and Spearman's coefficient; None where a side has less than two different values."""
    if any(len(side) < 2 or side.min() == side.max() for side in (x, y)):
        return {"pearson": None, "spearman": None}
    stats = extra("scipy.stats")
    return {
        "pearson": float(stats.pearsonr(x, y).statistic),
        "spearman": float(stats.spearmanr(x, y).statistic),
    }
