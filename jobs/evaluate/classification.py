"""One label a row: `label`, or the first of `labels`; several labels and regression are their own files."""

from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

from corpusmill.jobs.evaluate.label_ids import names_of_ids
from corpusmill.jobs.evaluate.label_scores import single_label_scores
from corpusmill.jobs.evaluate.label_types import as_text, is_list, is_text
from corpusmill.jobs.evaluate.losses import MeanLoss, of_the_best, of_the_gold
from corpusmill.jobs.evaluate.multi_label import multi_label
from corpusmill.jobs.evaluate.problems import EvaluateError
from corpusmill.jobs.evaluate.regression import regression
from corpusmill.jobs.evaluate.request import Kind, Metrics, Request

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
