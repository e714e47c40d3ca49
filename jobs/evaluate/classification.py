"""One label a row: `label`, or the first of `labels`; several labels and regression are their own files."""

from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

from corpusmill.jobs.errors import EvaluateError
from corpusmill.jobs.evaluate.answers import differing_rows, items, matched, outcomes
from corpusmill.jobs.evaluate.label_scores import (
    Outcomes,
    as_text,
    is_list,
    is_text,
    is_text_list,
    names_of_ids,
    several_label_scores,
    single_label_scores,
)
from corpusmill.jobs.evaluate.losses import MeanLoss, of_each_label, of_the_best, of_the_gold
from corpusmill.jobs.evaluate.regression import regression
from corpusmill.jobs.evaluate.request import THRESHOLD, Kind, Metrics, Request

SHOWN = 5
"""Labels that a message names."""


class SingleLabel:
    """Accuracy, F1 and the confusion matrix, from counts of (gold, predicted), and the cross-entropy."""

    def __init__(self) -> None:
        self._pairs: Counter[tuple[str, str]] = Counter()
        self._known: set[str] = set()
        self._loss = MeanLoss()

    def add(self, rows: pa.Table) -> None:
        """Count; integers among the labels are the ids of the checkpoint's labels."""
        predicted, gold = rows["prediction"].combine_chunks(), rows["label"].combine_chunks()
        gold = names_of_ids(gold, predicted) if pa.types.is_integer(gold.type) else as_text(gold)
        if pa.types.is_dictionary(predicted.type):
            self._known.update(predicted.dictionary.to_pylist())
            self._loss.add(of_the_best(rows, gold, predicted))
        else:
            lists = predicted
            predicted = first_label(lists)
            self._loss.add(of_the_gold(lists, gold))
        named = pa.table({"gold": gold, "predicted": as_text(predicted)})
        for row in named.group_by(["gold", "predicted"]).aggregate([([], "count_all")]).to_pylist():
            self._pairs[row["gold"], row["predicted"]] += row["count_all"]

    def metrics(self) -> Metrics:
        """Score the counts; labels of which the checkpoint has none are an error, not a score of 0."""
        gold = {label for label, _ in self._pairs}
        if self._known and self._known.isdisjoint(gold):
            raise EvaluateError(
                f"expected some of the checkpoint's labels ({_some(self._known)}), got others "
                f"({_some(gold)}); keep a column with its labels' names"
            ).at("--labels")
        return {**single_label_scores(self._pairs), "loss": self._loss.value()}


def _some(labels: set[str]) -> str:
    return ", ".join([*sorted(labels)[:SHOWN], *(["..."] if len(labels) > SHOWN else [])])


def text_classification(request: Request) -> Kind:
    """Choose by the columns that the checkpoint's kind of labels and the options gave."""
    column = request.column("label", "labels", "value")
    if column.endswith("value"):
        return regression(request, column)
    if column.endswith("label"):
        return _single(request, column)
    # A checkpoint of one label a row lists several only if `top_k` says so; a multi-label one always does.
    several = "top_k" not in request.model.options or is_list(request.label_type)
    return multi_label(request, column) if several else _first(request, column)


def zero_shot(request: Request) -> Kind:
    """The best candidate, or all that are likely enough where `multi_label` was asked for."""
    column = request.column("labels")
    return (
        multi_label(request, column) if request.model.options.get("multi_label") else _first(request, column)
    )


def _single(request: Request, column: str) -> Kind:
    ids = pa.types.is_integer(request.label_type) and pa.types.is_dictionary(
        request.output.schema.field(column).type
    )
    if not ids and not is_text(request.label_type):
        raise request.refuse_labels("strings, or integers that are ids of the checkpoint's labels,")
    return Kind(column, SingleLabel(), score=request.column("score"))


def _first(request: Request, column: str) -> Kind:
    if not is_text(request.label_type):
        raise request.refuse_labels("strings")
    return Kind(column, SingleLabel(), predictions=listed)


def listed(lists: pa.Array) -> pa.Array:
    """Return the lists, null where one is empty: no prediction."""
    return pc.if_else(pc.greater(pc.list_value_length(lists), 0), lists, None)


def first_label(lists: pa.Array) -> pa.Array:
    """Return the best label of each row, of lists that are not empty."""
    return pc.struct_field(pc.list_element(lists, 0), "label")


# Any number of labels a row, of those in `labels` with a score of at least the threshold.


class MultiLabel:
    """Subset accuracy (all labels of a row right, and no other), scores by label, and binary cross-entropy.

    The loss is known where rows list all labels, whatever their scores.
    """

    def __init__(self, threshold: float, *, lists_all: bool) -> None:
        self._threshold = threshold
        self._outcomes: Outcomes = Outcomes()
        self._rows = self._differing = 0
        self._loss = MeanLoss(known=lists_all)

    def add(self, rows: pa.Table) -> None:
        """Count the labels on either side."""
        scored = items(rows["prediction"].combine_chunks(), ("label", "score"))
        # Compared as float32, or 0.7 itself would be below a threshold of 0.7.
        likely = pc.greater_equal(scored["score"], pa.scalar(self._threshold, pa.float32()))
        predicted = scored.filter(likely).drop_columns("score")
        gold = items(_lists(rows["label"].combine_chunks()))
        found = matched(gold, predicted)
        self._loss.add(of_each_label(gold, scored))
        self._outcomes += outcomes(found)
        self._rows += len(rows)
        self._differing += differing_rows(found)

    def metrics(self) -> Metrics:
        """Score the counts."""
        return {
            "threshold": self._threshold,
            "subset_accuracy": 1 - self._differing / self._rows,
            **several_label_scores(self._outcomes),
            "loss": self._loss.value(),
        }


def multi_label(request: Request, column: str) -> Kind:
    """Score a column `labels` against lists of strings, or single strings."""
    if not is_text(request.label_type) and not is_text_list(request.label_type):
        raise request.refuse_labels("lists of strings, or strings,")
    threshold = THRESHOLD if request.threshold is None else request.threshold
    if not 0 <= threshold <= 1:
        raise EvaluateError(f"expected a score from 0 to 1, got {threshold}").at("--threshold")
    cuts = request.model.options
    lists_all = cuts.get("top_k") is None and not cuts.get("threshold")
    return Kind(column, MultiLabel(threshold, lists_all=lists_all), uses=("threshold",))


def _lists(labels: pa.Array) -> pa.Array:
    """Return a list a row."""
    if not is_text(labels.type):
        return labels
    return pa.ListArray.from_arrays(pa.array(range(len(labels) + 1), pa.int32()), labels)
