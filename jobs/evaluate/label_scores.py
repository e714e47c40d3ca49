"""Precision, recall and F1 by label, by scikit-learn, of counted outcomes in place of rows.

Rows that are alike are one sample with their number as its weight: the scores are the same, and memory grows
with the number of labels, not of rows.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpusmill.jobs.errors import EvaluateError
from corpusmill.jobs.evaluate.request import Metrics
from corpusmill.jobs.extras import extra

Outcomes = Counter[tuple[str, bool, bool]]
"""How often a label was (in the gold, in the prediction) of a row or a span."""


def single_label_scores(pairs: Mapping[tuple[str, str], int]) -> Metrics:
    """Score rows of one label each, counted by (gold, predicted); also accuracy and the confusion matrix.

    The labels are all that occur, sorted; the matrix has gold labels as rows.
    """
    gold, predicted = zip(*pairs, strict=True)
    weights = list(pairs.values())
    names = sorted({*gold, *predicted})
    sklearn = extra("sklearn.metrics", "evaluate")
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
    return extra("scipy.sparse", "evaluate").csr_matrix(
        (np.ones(len(marked), int), (rows, columns)), shape=shape
    )


def _scores(gold: Any, predicted: Any, *, labels: Any, names: Sequence[str], weights: list[int]) -> Metrics:
    def of(average: str | None) -> Any:
        score = extra("sklearn.metrics", "evaluate").precision_recall_fscore_support
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


# Integers in a label column: the ids of a checkpoint's labels, where that is what they must mean.


def names_of_ids(ids: pa.Array, predictions: pa.DictionaryArray) -> pa.Array:
    """Return the labels that the ids stand for.

    A file's dictionary has all labels in the checkpoint's order. Where the labels are numbers themselves, but
    other ones than their places ("1 2 3"), an integer could be either.
    """
    names = predictions.dictionary.to_pylist()
    if all(name.isdecimal() for name in names) and names != [str(i) for i in range(len(names))]:
        raise _refused(
            f"expected strings, got integers that could be the labels {', '.join(names)} or their places "
            "from 0"
        )
    least, most = (value.as_py() for value in pc.min_max(ids).values())
    if least < 0 or most >= len(names):
        raise _refused(
            f"expected ids from 0 to {len(names) - 1} of the labels {', '.join(names)}, got {least} to {most}"
        )
    return predictions.dictionary.take(ids).cast(pa.string())


def _refused(reason: str) -> EvaluateError:
    return EvaluateError(f"{reason}; keep a column with the labels' names").at("--labels")


# Which types of label columns mean what.


def is_text(kind: pa.DataType) -> bool:
    """Say whether a column holds strings, plain or as a dictionary."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_list(kind: pa.DataType) -> bool:
    """Say whether a column holds a list a row."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def is_text_list(kind: pa.DataType) -> bool:
    """Say whether a column holds a list of strings a row."""
    return is_list(kind) and is_text(kind.value_type)


def is_number(kind: pa.DataType) -> bool:
    """Say whether a column holds numbers."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def as_text(column: pa.Array) -> pa.Array:
    """Return a column of text as plain strings."""
    return column.cast(pa.string())


def as_numbers(column: pa.Array) -> pa.Array:
    """Return a column of numbers as float64, null where one is not finite: some writers' missing value."""
    numbers = column.cast(pa.float64())
    return pc.if_else(pc.is_finite(numbers), numbers, pa.scalar(None, pa.float64()))
