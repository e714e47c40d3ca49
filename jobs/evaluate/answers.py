"""Answers to questions: exact match and F1 of words, as in SQuAD's official evaluation.

An answer is compared with each gold answer, without case, punctuation, articles and extra space; the best
comparison counts. If there is no gold answer, an empty answer is right (SQuAD 2.0). Rajpurkar et al. 2016 and
2018.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from corpusmill.jobs.evaluate.label_scores import LabelCounts, is_text, is_text_list
from corpusmill.jobs.evaluate.request import Metrics, Request, Scoring

ARTICLES = re.compile(r"\b(a|an|the)\b")
WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass
class _Sums:
    rows: int = 0
    exact: float = 0.0
    f1: float = 0.0

    def add(self, exact: float, f1: float) -> None:
        self.rows, self.exact, self.f1 = self.rows + 1, self.exact + exact, self.f1 + f1

    def metrics(self) -> Metrics:
        return {"exact_match": self.exact / self.rows, "f1": self.f1 / self.rows}


class AnswerScores:
    """Exact match and F1; also of rows with and of rows without a gold answer, if the output has both."""

    def __init__(self) -> None:
        self._all, self._with_gold, self._without_gold = _Sums(), _Sums(), _Sums()

    def add(self, rows: pa.Table) -> None:
        """Compare each row's answer with its gold answers."""
        for prediction, label in zip(rows["prediction"].to_pylist(), rows["label"].to_pylist(), strict=True):
            predicted, gold = normalized_words(_text(prediction)), gold_answers(label)
            scores = max(exact_match_and_f1(predicted, answer) for answer in gold or [[]])
            self._all.add(*scores)
            (self._with_gold if gold else self._without_gold).add(*scores)

    def metrics(self) -> Metrics:
        """Return the means."""
        parts = {"has_answer": self._with_gold, "no_answer": self._without_gold}
        both = all(part.rows for part in parts.values())
        named = {name: {"rows": part.rows, **part.metrics()} for name, part in parts.items()} if both else {}
        return {**self._all.metrics(), **named}


def question_answering(request: Request) -> Scoring:
    """Return the scoring of `answer`, or the best of `answers`, against strings, lists or SQuAD structs."""
    label_type = request.label_type
    squad = pa.types.is_struct(label_type) and any(
        field.name == "text" and is_text_list(field.type) for field in label_type
    )
    if not squad and not is_text(label_type) and not is_text_list(label_type):
        raise request.refuse_labels("strings, lists of strings, or struct<text: list<string>, ...>")
    return Scoring(request.column("answer", "answers"), AnswerScores(), null_is_a_label=True)


def normalized_words(text: str) -> list[str]:
    """Return the words without case, punctuation and articles."""
    return ARTICLES.sub(" ", text.lower().translate(WITHOUT_PUNCTUATION)).split()


def gold_answers(label: Any) -> list[list[str]]:
    """Return the words of each gold answer; an empty list if the question has no answer."""
    texts = label.get("text") if isinstance(label, dict) else label
    answers = [texts] if isinstance(texts, str) else texts or []
    return [found for found in (normalized_words(answer or "") for answer in answers) if found]


def exact_match_and_f1(predicted: list[str], gold: list[str]) -> tuple[float, float]:
    """Return exact match and F1 of the words; an empty side matches only an empty side."""
    exact = float(predicted == gold)
    shared = sum((Counter(predicted) & Counter(gold)).values())
    return exact, 2 * shared / (len(predicted) + len(gold)) if shared else exact


def _text(prediction: Any) -> str:
    best = (prediction or [None])[0] if isinstance(prediction, list) else prediction
    return (best or {}).get("text") or ""


# Comparison of rows' labels and predictions as sets of items, for a whole file at once.


def list_items(lists: pa.Array, fields: Sequence[str] = ()) -> pa.Table:
    """Return the items of a column of lists with their `row`: these fields of structs, or else `label`."""
    flat = lists.flatten()
    columns = {name: pc.struct_field(flat, name) for name in fields} or {"label": flat}
    columns["label"] = columns["label"].cast(pa.string())
    table = pa.table({"row": pc.list_parent_indices(lists).cast(pa.int64()), **columns})
    return table.filter(table["label"].is_valid())


def matched_items(gold: pa.Table, predicted: pa.Table) -> pa.Table:
    """Return each item once, with `gold` and `predicted`: whether that side has it."""
    both = pa.concat_tables([_with_side(gold, gold=True), _with_side(predicted, gold=False)])
    sides = [("gold", "any"), ("predicted", "any")]
    found = both.group_by(gold.column_names).aggregate(sides)
    return found.rename_columns({"gold_any": "gold", "predicted_any": "predicted"})


def _with_side(table: pa.Table, *, gold: bool) -> pa.Table:
    sides = {"gold": gold, "predicted": not gold}
    for name, present in sides.items():
        table = table.append_column(name, pa.repeat(present, len(table)))
    return table


def label_counts(found: pa.Table) -> LabelCounts:
    """Return the number of items by label, and by whether either side has them."""
    counted = found.group_by(["label", "gold", "predicted"]).aggregate([([], "count_all")])
    return LabelCounts(
        {(row["label"], row["gold"], row["predicted"]): row["count_all"] for row in counted.to_pylist()}
    )


def differing_rows(found: pa.Table) -> int:
    """Return the number of rows with an item that only one side has."""
    differs = found.filter(pc.not_equal(found["gold"], found["predicted"]))
    return int(pc.count_distinct(differs["row"]).as_py())
