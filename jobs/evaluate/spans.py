"""Labelled spans: a span is right if start, end and label equal the gold's, as in seqeval's default."""

import pyarrow as pa

from corpusmill.jobs.evaluate.answers import label_counts, list_items, matched_items
from corpusmill.jobs.evaluate.label_scores import LabelCounts, is_list, is_text, several_label_scores
from corpusmill.jobs.evaluate.request import Metrics, Request, Scoring

FIELDS = ("start", "end", "label")


class SpanScores:
    """Scores by label, from exact matches."""

    def __init__(self) -> None:
        self._counts: LabelCounts = LabelCounts()

    def add(self, rows: pa.Table) -> None:
        """Count the gold and the predicted spans."""
        gold, predicted = (_spans(rows[name].combine_chunks()) for name in ("label", "prediction"))
        self._counts += label_counts(matched_items(gold, predicted))

    def metrics(self) -> Metrics:
        """Return the scores of the counts."""
        return several_label_scores(self._counts)


def token_classification(request: Request) -> Scoring:
    """Return the scoring of `spans` against lists of start, end and label."""
    if not _are_spans(request.label_type):
        raise request.refuse_labels("list<struct<start, end, label>>, start and end in characters,")
    return Scoring(request.column("spans"), SpanScores())


def _spans(lists: pa.Array) -> pa.Table:
    found = list_items(lists, FIELDS)
    types = {"row": pa.int64(), "start": pa.int64(), "end": pa.int64(), "label": pa.string()}
    return found.cast(pa.schema([(name, types[name]) for name in found.column_names]))


def _are_spans(kind: pa.DataType) -> bool:
    if not is_list(kind) or not pa.types.is_struct(kind.value_type):
        return False
    fields = {field.name: field.type for field in kind.value_type}
    return (
        set(FIELDS) <= set(fields)
        and all(pa.types.is_integer(fields[name]) for name in ("start", "end"))
        and is_text(fields["label"])
    )
