"""Precision, recall and F1 by label, by scikit-learn, of counted outcomes in place of rows.

Rows that are alike are one sample with their number as its weight: the scores are the same, and memory grows
with the number of labels, not of rows.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from corpusmill.jobs.evaluate.extras import extra
from corpusmill.jobs.evaluate.problems import EvaluateError
from corpusmill.jobs.evaluate.request import Metrics

Outcomes = Counter[tuple[str, bool, bool]]
"""How often a label was (in the gold, in the prediction) of a row or a span."""


def single_label_scores(pairs: Mapping[tuple[str, str], int]) -> Metrics:
    """Score rows of one label each, counted by (gold, predicted); also accuracy and the confusion matrix.

    The labels are all that occur, sorted; the matrix has gold labels as rows.
    """
    gold, predicted = zip(*pairs, strict=True)
    weights = list(pairs.values())
    names = sorted({*gold, *predicted})
    sklearn = extra("sklearn.metrics")
    matrix = [[pairs.get((row, column), 0) for column in names] for row in names]
    return {
        "accuracy": float(sklearn.accuracy_score(gold, predicted, sample_weight=weights)),
        **_scores(gold, predicted, labels=names, names=names, weights=weights),
        "confusion": {"labels": names, "matrix": matrix},
    }


def several_label_scores(outcomes: Outcomes) -> Metrics:
    """Score labels of which a row has any number, and labelled spans."""
    if not outcomes:
        raise EvaluateError("expected labels, got none in any row, neither in the column nor predicted").at(
            "--labels"
        )
    names = sorted({name for name, _, _ in outcomes})
    return _scores(
        _indicators(outcomes, names, 1),
        _indicators(outcomes, names, 2),
        labels=range(len(names)),
        names=names,
        weights=list(outcomes.values()),
    )


def _indicators(outcomes: Outcomes, names: Sequence[str], side: int) -> Any:
    """Return a sparse matrix, a row an outcome, that marks its label where it was on this side."""
    place = {name: index for index, name in enumerate(names)}
    marked = [(row, place[outcome[0]]) for row, outcome in enumerate(outcomes) if outcome[side]]
    rows, columns = zip(*marked, strict=True) if marked else ((), ())
    # scikit-learn takes a matrix of one column for something else, hence one that no label has.
    shape = (len(outcomes), len(names) + 1)
    return extra("scipy.sparse").csr_matrix((np.ones(len(marked), int), (rows, columns)), shape=shape)


def _scores(gold: Any, predicted: Any, *, labels: Any, names: Sequence[str], weights: list[int]) -> Metrics:
    def of(average: str | None) -> Any:
        score = extra("sklearn.metrics").precision_recall_fscore_support
        return score(
            gold, predicted, labels=list(labels), average=average, sample_weight=weights, zero_division=0
        )

    return {
        **{average: _named(of(average)[:3]) for average in ("micro", "macro")},
        "labels": {
            name: {**_named(scores), "support": round(support)}
            for name, *scores, support in zip(names, *of(None), strict=True)
        },
    }


def _named(scores: Sequence[float]) -> dict[str, float]:
    return dict(zip(("precision", "recall", "f1"), map(float, scores), strict=True))
