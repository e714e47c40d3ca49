"""Classification with one label per row or with several."""

from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

from corpusmill.jobs.errors import EvaluateError
from corpusmill.jobs.evaluate.answers import differing_rows, label_counts, list_items, matched_items
from corpusmill.jobs.evaluate.label_scores import (
    LabelCounts,
    as_text,
    is_list,
    is_text,
    is_text_list,
    labels_of_ids,
    several_label_scores,
    single_label_scores,
)
from corpusmill.jobs.evaluate.losses import (
    MeanLoss,
    gold_probability_from_best,
    gold_probability_from_list,
    label_probabilities,
)
from corpusmill.jobs.evaluate.regression import regression
from corpusmill.jobs.evaluate.request import DEFAULT_THRESHOLD, Metrics, Request, Scoring

LABELS_SHOWN = 5
"""The number of labels that a message names."""


class SingleLabelScores:
    """Scores of one label per row: accuracy, F1, the confusion matrix and the cross-entropy."""

    def __init__(self, *, probabilities: bool = True) -> None:
        self._pairs: Counter[tuple[str, str]] = Counter()
        self._known: set[str] = set()
        self._loss = MeanLoss(known=probabilities)

    def add(self, rows: pa.Table) -> None:
        """Count pairs of gold and predicted label; integer labels are ids of the checkpoint's labels."""
        predicted, gold = rows["prediction"].combine_chunks(), rows["label"].combine_chunks()
        gold = labels_of_ids(gold, predicted) if pa.types.is_integer(gold.type) else as_text(gold)
        if pa.types.is_dictionary(predicted.type):
            self._known.update(predicted.dictionary.to_pylist())
            self._loss.add(gold_probability_from_best(rows, gold, predicted))
        else:
            lists = predicted
            predicted = first_label(lists)
            self._loss.add(gold_probability_from_list(lists, gold))
        named = pa.table({"gold": gold, "predicted": as_text(predicted)})
        for row in named.group_by(["gold", "predicted"]).aggregate([([], "count_all")]).to_pylist():
            self._pairs[row["gold"], row["predicted"]] += row["count_all"]

    def metrics(self) -> Metrics:
        """Return the scores; refuse gold labels that the checkpoint does not have."""
        gold = {label for label, _ in self._pairs}
        if self._known and self._known.isdisjoint(gold):
            raise EvaluateError(
                f"expected labels of the checkpoint ({_first_labels(self._known)}), got only others "
                f"({_first_labels(gold)}); keep a column with the checkpoint's labels"
            ).at("--labels")
        return {**single_label_scores(self._pairs), "loss": self._loss.value()}


def _first_labels(labels: set[str]) -> str:
    return ", ".join([*sorted(labels)[:LABELS_SHOWN], *(["..."] if len(labels) > LABELS_SHOWN else [])])


def text_classification(request: Request) -> Scoring:
    """Return the scoring for the columns that the checkpoint and the options produced."""
    column = request.column("label", "labels", "value")
    if column.endswith("value"):
        return regression(request, column)
    if column.endswith("label"):
        return _single(request, column)
    # A single-label checkpoint lists several labels only with `top_k`; a multi-label one always does.
    several = "top_k" not in request.model.options or is_list(request.label_type)
    return multi_label(request, column) if several else _first(request, column)


def zero_shot(request: Request) -> Scoring:
    """Return the scoring of the best candidate, or of all likely ones with the option `multi_label`."""
    column = request.column("labels")
    return (
        multi_label(request, column) if request.model.options.get("multi_label") else _first(request, column)
    )


def _single(request: Request, column: str) -> Scoring:
    ids = pa.types.is_integer(request.label_type) and pa.types.is_dictionary(
        request.output.schema.field(column).type
    )
    if not ids and not is_text(request.label_type):
        raise request.refuse_labels("strings, or integers that are ids of the checkpoint's labels,")
    scorer = SingleLabelScores(probabilities=_writes_probabilities(request))
    return Scoring(column, scorer, score=request.column("score"))


def _writes_probabilities(request: Request) -> bool:
    """Return False if the job chose raw scores; those of a checkpoint's choice are seen by their range."""
    return request.model.options.get("function_to_apply") != "none"


def _first(request: Request, column: str) -> Scoring:
    if not is_text(request.label_type):
        raise request.refuse_labels("strings")
    scorer = SingleLabelScores(probabilities=_writes_probabilities(request))
    return Scoring(column, scorer, predictions=null_where_empty)


def null_where_empty(lists: pa.Array) -> pa.Array:
    """Return the lists with null in place of an empty list, which is no prediction."""
    return pc.if_else(pc.greater(pc.list_value_length(lists), 0), lists, None)


def first_label(lists: pa.Array) -> pa.Array:
    """Return the first label of each list; no list may be empty."""
    return pc.struct_field(pc.list_element(lists, 0), "label")


# Any number of labels per row: those in `labels` with a score of at least the threshold.


class MultiLabelScores:
    """Scores of several labels per row: subset accuracy, scores by label, and binary cross-entropy.

    Subset accuracy is the share of rows with all the right labels and no other. The loss is known if rows
    list all labels, whatever their scores.
    """

    def __init__(self, threshold: float, *, lists_all: bool) -> None:
        self._threshold = threshold
        self._counts: LabelCounts = LabelCounts()
        self._rows = self._differing = 0
        self._loss = MeanLoss(known=lists_all)

    def add(self, rows: pa.Table) -> None:
        """Count the gold and the predicted labels."""
        scored = list_items(rows["prediction"].combine_chunks(), ("label", "score"))
        # As float32: the score 0.7 in float32 is below 0.7 in float64.
        likely = pc.greater_equal(scored["score"], pa.scalar(self._threshold, pa.float32()))
        predicted = scored.filter(likely).drop_columns("score")
        gold = list_items(_as_lists(rows["label"].combine_chunks()))
        found = matched_items(gold, predicted)
        self._loss.add(label_probabilities(gold, scored))
        self._counts += label_counts(found)
        self._rows += len(rows)
        self._differing += differing_rows(found)

    def metrics(self) -> Metrics:
        """Return the scores of the counts."""
        return {
            "threshold": self._threshold,
            "subset_accuracy": 1 - self._differing / self._rows,
            **several_label_scores(self._counts),
            "loss": self._loss.value(),
        }


def multi_label(request: Request, column: str) -> Scoring:
    """Return the scoring of a column `labels` against lists of strings, or single strings."""
    if not is_text(request.label_type) and not is_text_list(request.label_type):
        raise request.refuse_labels("lists of strings, or strings,")
    threshold = DEFAULT_THRESHOLD if request.threshold is None else request.threshold
    if not 0 <= threshold <= 1:
        raise EvaluateError(f"expected a score from 0 to 1, got {threshold}").at("--threshold")
    options = request.model.options
    lists_all = options.get("top_k") is None and not options.get("threshold")
    lists_all = lists_all and _writes_probabilities(request)
    return Scoring(column, MultiLabelScores(threshold, lists_all=lists_all), uses=("threshold",))


def _as_lists(labels: pa.Array) -> pa.Array:
    """Return one list per row."""
    if not is_text(labels.type):
        return labels
    return pa.ListArray.from_arrays(pa.array(range(len(labels) + 1), pa.int32()), labels)
