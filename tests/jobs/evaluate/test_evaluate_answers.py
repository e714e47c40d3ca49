"""Answers to questions, scored as in SQuAD's evaluations."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from finished_outputs import ANSWER, answers, model, write_finished

from corpusmill.jobs.evaluate import Evaluation, evaluate

SQUAD = pa.struct([("text", pa.list_(pa.string())), ("answer_start", pa.list_(pa.int32()))])


def scored(folder: Path, gold: Any, predicted: pa.Array, column: str = "answer") -> Evaluation:
    """The evaluation of an output of question answering."""
    table = pa.table({"gold": gold, column: predicted})
    return evaluate(write_finished(folder / "made", [table], model("question-answering")), "gold")


@pytest.mark.parametrize(
    ("predicted", "gold", "exact", "f1"),
    [
        ("Paris", "Paris", 1, 1),
        ("the Paris.", "paris", 1, 1),
        ("An  apple, a day", "apple day", 1, 1),
        ("theatre", "atre", 0, 0),
        ("the big red dog", "red cat", 0, 0.4),  # 1 shared of 3 and 2 words
        ("to be or not to be", "to be", 0, 0.5),  # each word as often as on both sides
        ("U.S.", "US", 1, 1),
        ("", "Paris", 0, 0),
        ("Rome", "Paris", 0, 0),
        ("Rome", "", 0, 0),
        ("at–the–sea", "at– –sea", 1, 1),  # an article parts the words around it
        ("the", "", 1, 1),  # nothing is left of an article
    ],
)
def test_words_are_compared(tmp_path: Path, predicted: str, gold: str, exact: int, f1: float) -> None:
    """Without case, punctuation, articles and extra space; F1 over the words that both have."""
    found = scored(tmp_path, [gold], answers(predicted))
    assert found.metrics == {"exact_match": exact, "f1": pytest.approx(f1)}


@pytest.mark.parametrize(
    "gold",
    [
        pa.array([["Rome", "the big city"], ["x"]]),
        pa.array(
            [
                {"text": ["Rome", "the big city"], "answer_start": [1, 5]},
                {"text": ["x"], "answer_start": [0]},
            ],
            SQUAD,
        ),
    ],
    ids=["list", "squad"],
)
def test_the_best_of_several_gold_answers_counts(tmp_path: Path, gold: pa.Array) -> None:
    """`big` shares one of two words with the second."""
    found = scored(tmp_path, gold, answers("big", "x"))
    assert found.metrics == {"exact_match": 0.5, "f1": pytest.approx((2 / 3 + 1) / 2)}


@pytest.mark.parametrize(
    "gold",
    [
        pa.array([["x y"], [], None, []], pa.list_(pa.string())),
        pa.array(["x y", "", None, None]),
        pa.array([{"text": ["x y"]}, {"text": []}, None, {"text": None}], SQUAD),
    ],
    ids=["list", "string", "squad"],
)
def test_no_gold_answer_is_answered_by_no_text(tmp_path: Path, gold: pa.Array) -> None:
    """SQuAD 2.0: such rows count, and both parts are reported; a null prediction is left out."""
    found = scored(tmp_path, gold, answers("y", "", "y", None))
    assert (found.evaluated, found.without_label, found.without_prediction) == (3, 0, 1)
    assert found.metrics == {
        "exact_match": pytest.approx(1 / 3),
        "f1": pytest.approx((2 / 3 + 1 + 0) / 3),
        "has_answer": {"rows": 1, "exact_match": 0.0, "f1": pytest.approx(2 / 3)},
        "no_answer": {"rows": 2, "exact_match": 0.5, "f1": 0.5},
    }


def test_the_first_of_several_answers_counts(tmp_path: Path) -> None:
    """An empty list is an empty answer."""
    predicted = pa.array([[{"text": "a b"}, {"text": "c"}], [], [{"text": None}]], pa.list_(ANSWER))
    found = scored(tmp_path, ["c", None, None], predicted, "answers")
    assert found.metrics["has_answer"]["exact_match"] == 0.0
    assert found.metrics["no_answer"]["exact_match"] == 1.0
