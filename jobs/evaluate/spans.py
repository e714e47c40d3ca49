"""Labelled spans: right are those with the gold's start, end and label, as seqeval counts by default."""

import pyarrow as pa

from corpusmill.jobs.evaluate.answers import items, matched, outcomes
from corpusmill.jobs.evaluate.label_scores import Outcomes, is_list, is_text, several_label_scores
from corpusmill.jobs.evaluate.request import Kind, Metrics, Request

FIELDS = ("start", "end", "label")


class Spans:
    """Scores by label of exact matches."""

    def __init__(self) -> None:
        self._outcomes: Outcomes = Outcomes()

    def add(self, rows: pa.Table) -> None:
        """Count the spans on either side."""
        gold, predicted = (_spans(rows[name].combine_chunks()) for name in ("label", "prediction"))
        self._outcomes += outcomes(matched(gold, predicted))

    def metrics(self) -> Metrics:
        """Score the counts."""
        return several_label_scores(self._outcomes)


def token_classification(request: Request) -> Kind:
    """Score `spans` against lists of start, end and label."""
    if not _are_spans(request.label_type):
        raise request.refuse_labels("list<struct<start, end, label>>, start and end in characters,")
    return Kind(request.column("spans"), Spans())


def _spans(lists: pa.Array) -> pa.Table:
    found = items(lists, FIELDS)
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
