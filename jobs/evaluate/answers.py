"""Answers to questions: exact match and F1 of words, as SQuAD's official evaluation counts them.

An answer is compared without case, punctuation, articles and extra space, with each gold answer; the best
counts. No gold answer is right answered by no text (SQuAD 2.0). Rajpurkar et al. 2016 and 2018.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from corpusmill.jobs.evaluate.label_scores import Outcomes, is_text, is_text_list
from corpusmill.jobs.evaluate.request import Kind, Metrics, Request

ARTICLES = re.compile(r"\b(a|an|the)\b")
WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass
class _Sum:
    rows: int = 0
    exact: float = 0.0
    f1: float = 0.0

    def add(self, exact: float, f1: float) -> None:
        self.rows, self.exact, self.f1 = self.rows + 1, self.exact + exact, self.f1 + f1

    def metrics(self) -> Metrics:
        return {"exact_match": self.exact / self.rows, "f1": self.f1 / self.rows}


class Answers:
    """Exact match and F1, and each of the rows with and without a gold answer where there are both."""

    def __init__(self) -> None:
        self._all, self._with_gold, self._without_gold = _Sum(), _Sum(), _Sum()

    def add(self, rows: pa.Table) -> None:
        """Compare each row's answer."""
        for prediction, label in zip(rows["prediction"].to_pylist(), rows["label"].to_pylist(), strict=True):
            predicted, gold = words(_text(prediction)), gold_answers(label)
            scores = max(agreement(predicted, answer) for answer in gold or [[]])
            self._all.add(*scores)
            (self._with_gold if gold else self._without_gold).add(*scores)

    def metrics(self) -> Metrics:
        """Return the means."""
        parts = {"has_answer": self._with_gold, "no_answer": self._without_gold}
        both = all(part.rows for part in parts.values())
        named = {name: {"rows": part.rows, **part.metrics()} for name, part in parts.items()} if both else {}
        return {**self._all.metrics(), **named}


def question_answering(request: Request) -> Kind:
    """Score `answer`, or the first of `answers`, against strings, lists of them, or SQuAD's structs."""
    kind = request.label_type
    squad = pa.types.is_struct(kind) and any(
        field.name == "text" and is_text_list(field.type) for field in kind
    )
    if not squad and not is_text(kind) and not is_text_list(kind):
        raise request.refuse_labels("strings, lists of strings, or struct<text: list<string>, ...>")
    return Kind(request.column("answer", "answers"), Answers(), null_is_a_label=True)


def words(text: str) -> list[str]:
    """Return the words that count."""
    return ARTICLES.sub(" ", text.lower().translate(WITHOUT_PUNCTUATION)).split()


def gold_answers(label: Any) -> list[list[str]]:
    """Return the gold answers' words; none where the question has no answer."""
    texts = label.get("text") if isinstance(label, dict) else label
    answers = [texts] if isinstance(texts, str) else texts or []
    return [found for found in (words(answer or "") for answer in answers) if found]


def agreement(predicted: list[str], gold: list[str]) -> tuple[float, float]:
    """Return exact match and F1 of the words; with no words on a side both have to have none."""
    exact = float(predicted == gold)
    shared = sum((Counter(predicted) & Counter(gold)).values())
    return exact, 2 * shared / (len(predicted) + len(gold)) if shared else exact


def _text(prediction: Any) -> str:
    best = (prediction or [None])[0] if isinstance(prediction, list) else prediction
    return (best or {}).get("text") or ""


# What a row's labels and its predictions share: sets of items, compared for a whole file at once.


def items(lists: pa.Array, fields: Sequence[str] = ()) -> pa.Table:
    """Return the items of a column of lists with their `row`: structs by these fields, else as `label`."""
    flat = lists.flatten()
    columns = {name: pc.struct_field(flat, name) for name in fields} or {"label": flat}
    columns["label"] = columns["label"].cast(pa.string())
    table = pa.table({"row": pc.list_parent_indices(lists).cast(pa.int64()), **columns})
    return table.filter(table["label"].is_valid())


def matched(gold: pa.Table, predicted: pa.Table) -> pa.Table:
    """Return each item once, with `gold` and `predicted`: on which sides it is."""
    both = pa.concat_tables([_marked(gold, gold=True), _marked(predicted, gold=False)])
    sides = [("gold", "any"), ("predicted", "any")]
    found = both.group_by(gold.column_names).aggregate(sides)
    return found.rename_columns({"gold_any": "gold", "predicted_any": "predicted"})


def _marked(table: pa.Table, *, gold: bool) -> pa.Table:
    sides = {"gold": gold, "predicted": not gold}
    for name, there in sides.items():
        table = table.append_column(name, pa.repeat(there, len(table)))
    return table


def outcomes(found: pa.Table) -> Outcomes:
    """Count items by label and sides."""
    counted = found.group_by(["label", "gold", "predicted"]).aggregate([([], "count_all")])
    return Outcomes(
        {(row["label"], row["gold"], row["predicted"]): row["count_all"] for row in counted.to_pylist()}
    )


def differing_rows(found: pa.Table) -> int:
    """Count the rows of which an item is on one side only."""
    differs = found.filter(pc.not_equal(found["gold"], found["predicted"]))
    return int(pc.count_distinct(differs["row"]).as_py())
