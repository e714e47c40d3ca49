"""Precision, recall and F1 by label, computed by scikit-learn from counts.

Equal rows are one sample, weighted with their number: the scores are the same, and memory grows with the
number of labels, not of rows.
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

LabelCounts = Counter[tuple[str, bool, bool]]
"""The number of rows or spans by (label, whether the gold has it, whether the prediction has it)."""


def single_label_scores(pairs: Mapping[tuple[str, str], int]) -> Metrics:
    """Return the scores of rows with one label each, counted by (gold, predicted).

    The labels are all that occur, sorted; the confusion matrix has gold labels as rows.
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


def several_label_scores(label_counts: LabelCounts) -> Metrics:
    """Return the scores of rows with any number of labels, or of labelled spans."""
    if not label_counts:
        raise EvaluateError("expected labels, got none in the column and none predicted").at("--labels")
    names = sorted({name for name, _, _ in label_counts})
    return _scores(
        _indicators(label_counts, names, 1),
        _indicators(label_counts, names, 2),
        labels=range(len(names)),
        names=names,
        weights=list(label_counts.values()),
    )


def _indicators(label_counts: LabelCounts, names: Sequence[str], side: int) -> Any:
    """Return a sparse matrix, one row per count, that marks the label if this side has it."""
    column_of = {name: index for index, name in enumerate(names)}
    marked = [(row, column_of[key[0]]) for row, key in enumerate(label_counts) if key[side]]
    rows, columns = zip(*marked, strict=True) if marked else ((), ())
    # scikit-learn treats a matrix of one column differently, so there is one more, which no label uses.
    shape = (len(label_counts), len(names) + 1)
    return extra("scipy.sparse", "evaluate").csr_matrix(
        (np.ones(len(marked), int), (rows, columns)), shape=shape
    )


def _scores(gold: Any, predicted: Any, *, labels: Any, names: Sequence[str], weights: list[int]) -> Metrics:
    def averaged(average: str | None) -> Any:
        score = extra("sklearn.metrics", "evaluate").precision_recall_fscore_support
        return score(
            gold, predicted, labels=list(labels), average=average, sample_weight=weights, zero_division=0
        )

    return {
        **{average: _named(averaged(average)[:3]) for average in ("micro", "macro")},
        "labels": {
            name: {**_named(scores), "support": round(support)}
            for name, *scores, support in zip(names, *averaged(None), strict=True)
        },
    }


def _named(scores: Sequence[float]) -> dict[str, float]:
    return dict(zip(("precision", "recall", "f1"), map(float, scores), strict=True))


# Integers in a label column, as ids of the checkpoint's labels.


def labels_of_ids(ids: pa.Array, predictions: pa.DictionaryArray) -> pa.Array:
    """Return the labels of these ids.

    A file's dictionary has all labels in the checkpoint's order. If the labels are numbers that differ from
    their ids ("1 2 3"), an integer is ambiguous and is refused.
    """
    names = predictions.dictionary.to_pylist()
    if all(name.isdecimal() for name in names) and names != [str(i) for i in range(len(names))]:
        raise _id_error(
            f"expected strings, got integers that could be the labels {', '.join(names)} or their ids, "
            "counted from 0"
        )
    least, most = (value.as_py() for value in pc.min_max(ids).values())
    if least < 0 or most >= len(names):
        raise _id_error(
            f"expected ids from 0 to {len(names) - 1} of the labels {', '.join(names)}, got {least} to {most}"
        )
    return predictions.dictionary.take(ids).cast(pa.string())


def _id_error(reason: str) -> EvaluateError:
    return EvaluateError(f"{reason}; keep a column with the labels' names").at("--labels")


# The types of label columns.


def is_text(kind: pa.DataType) -> bool:
    """Return whether a column holds strings, plain or as a dictionary."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_list(kind: pa.DataType) -> bool:
    """Return whether a column holds one list per row."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def is_text_list(kind: pa.DataType) -> bool:
    """Return whether a column holds one list of strings per row."""
    return is_list(kind) and is_text(kind.value_type)


def is_number(kind: pa.DataType) -> bool:
    """Return whether a column holds numbers."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def as_text(column: pa.Array) -> pa.Array:
    """Return a column of text as plain strings."""
    return column.cast(pa.string())


def as_numbers(column: pa.Array) -> pa.Array:
    """Return a column of numbers as float64, null where a value is not finite (often a missing value)."""
    numbers = column.cast(pa.float64())
    return pc.if_else(pc.is_finite(numbers), numbers, pa.scalar(None, pa.float64()))
