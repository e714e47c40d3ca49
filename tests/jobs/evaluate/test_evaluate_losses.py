"""The loss of an evaluation: the reference's on the same rows, or null if the output lacks a probability."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import transformers
from finished_outputs import model, ranked, single_labels, write_finished
from sklearn.metrics import log_loss
from support.tiny_checkpoints import write_checkpoint
from workshop import Workshop

from corpusmill.jobs.evaluate import evaluate

NAMES = ("bad", "fair", "good")
IDS = [2, 0, 1, 1, 2, 0, 2, 2, 1, 0]
SEVERAL = [["bad"], [], ["fair", "good"], ["good"], ["bad", "fair", "good"]] * 2
VALUES = [0.5, -1.25, 3.0, 0.0, 2.0, -0.5, 1.0, 4.0, -2.0, 0.25]

CASES: dict[str, tuple[tuple[str, ...], list[Any], Any]] = {
    "single_label_classification": (NAMES, [NAMES[i] for i in IDS], torch.tensor(IDS)),
    "multi_label_classification": (
        NAMES,
        SEVERAL,
        torch.tensor([[float(name in row) for name in NAMES] for row in SEVERAL]),
    ),
    "regression": (("value",), VALUES, torch.tensor(VALUES)),
}


def loss(folder: Path, task: str, columns: dict[str, Any], **options: Any) -> float | None:
    """The loss of an output with these columns."""
    made = write_finished(folder / "made", [pa.table(columns)], model(task, **options))
    found: float | None = evaluate(made, "gold").metrics["loss"]
    return found


@pytest.mark.parametrize("problem", CASES)
def test_the_loss_is_the_references(workshop: Workshop, tmp_path: Path, problem: str) -> None:
    """A real job's, of every kind of sequence classifier, over several files."""
    names, gold, targets = CASES[problem]
    texts = [f"the house {'by the water ' * (i % 3)}{i}" for i in range(len(gold))]
    folder = write_checkpoint(
        tmp_path / "made", "bert", "text-classification", labels=names, problem_type=problem
    )
    workshop.rows([{"text": text, "gold": label} for text, label in zip(texts, gold, strict=True)])
    listed = {} if problem == "regression" else {"top_k": None}
    workshop.run(
        models=[{"checkpoint": str(folder), "dtype": "float32", **listed}],
        input__keep=["gold"],
        input__rows_per_unit=4,
    )
    reference = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        losses = [
            reference(**tokenizer(text, return_tensors="pt"), labels=targets[i : i + 1]).loss
            for i, text in enumerate(texts)
        ]
    found = evaluate(str(workshop.output), "gold").metrics["loss"]
    assert found == pytest.approx(float(torch.stack(losses).mean()), rel=1e-4)


def test_of_two_labels_the_best_gives_both(tmp_path: Path) -> None:
    """The other label's score is the rest to 1."""
    columns = {"gold": ["a", "b", "b"], **single_labels(["a", "a", "b"], ["a", "b"], 0.9, 0.75, 0.5)}
    found = loss(tmp_path, "text-classification", columns)
    assert found == pytest.approx(-np.mean(np.log([0.9, 0.25, 0.5])))


def test_of_three_labels_the_best_gives_only_itself(tmp_path: Path) -> None:
    """The loss is known if every row is right, null if one is wrong."""
    predicted = single_labels(["a", "c"], ["a", "b", "c"], 0.9, 0.75)
    right = loss(tmp_path / "right", "text-classification", {"gold": ["a", "c"], **predicted})
    assert right == pytest.approx(-np.mean(np.log([0.9, 0.75])))
    assert loss(tmp_path / "wrong", "text-classification", {"gold": ["a", "b"], **predicted}) is None


def test_of_several_listed_labels_the_gold_one_counts(tmp_path: Path) -> None:
    """At any place in its row; null if a row does not list it. The same as scikit-learn's."""
    rows = ({"a": 0.5, "b": 0.25, "c": 0.25}, {"b": 0.75, "c": 0.125, "a": 0.125})
    columns = {"gold": ["b", "a"], "labels": ranked(*rows)}
    found = loss(tmp_path / "all", "text-classification", columns, top_k=None)
    expected = log_loss(["b", "a"], [[row[name] for name in "abc"] for row in rows], labels=["a", "b", "c"])
    assert found == pytest.approx(expected)
    columns = {"gold": ["b", "a"], "labels": ranked({"a": 0.5, "b": 0.25}, {"b": 0.75, "c": 0.125})}
    assert loss(tmp_path / "some", "text-classification", columns, top_k=2) is None


@pytest.mark.parametrize("cut", [{"top_k": 2}, {"threshold": 0.2}])
def test_several_labels_of_which_some_are_not_listed_have_no_loss(
    tmp_path: Path, cut: dict[str, float]
) -> None:
    """Even where every row lists as many."""
    columns = {"gold": [["a"], []], "labels": ranked({"a": 0.5, "b": 0.25}, {"b": 0.75, "a": 0.5})}
    everything = -np.mean(np.log([0.5, 0.75, 0.25, 0.5]))
    assert loss(tmp_path / "all", "text-classification", columns) == pytest.approx(everything)
    assert loss(tmp_path / "cut", "text-classification", columns, **cut) is None


def test_a_label_that_the_model_lacks_has_no_score(tmp_path: Path) -> None:
    """The loss is not known, also with two labels."""
    columns = {"gold": [["a", "z"]], "labels": ranked({"a": 0.5, "b": 0.25})}
    assert loss(tmp_path / "several", "text-classification", columns) is None
    columns = {"gold": ["a", "z"], **single_labels(["a", "b"], ["a", "b"], 0.9, 0.75)}
    assert loss(tmp_path / "one", "text-classification", columns) is None


def test_a_score_of_0_is_not_infinitely_wrong(tmp_path: Path) -> None:
    """It counts as float32's precision, as in scikit-learn."""
    columns = {"gold": ["b", "a"], **single_labels(["a", "a"], ["a", "b"], 1.0, 1.0)}
    found = loss(tmp_path, "text-classification", columns)
    rows = np.array([[1.0, 0.0], [1.0, 0.0]], np.float32)
    assert found == pytest.approx(log_loss(["b", "a"], rows, labels=["a", "b"]))


@pytest.mark.parametrize("score", [0.25, 3.5, -2.0])
@pytest.mark.parametrize("options", [{}, {"function_to_apply": "none"}], ids=["the checkpoint's", "none"])
def test_raw_scores_have_no_loss(tmp_path: Path, score: float, options: dict[str, str]) -> None:
    """The job's choice is known; that of a cross-encoder is seen by scores that are no probabilities."""
    columns = {"gold": ["bad", "good"], **single_labels(["bad", "good"], ["bad", "good"], 0.5, score)}
    listed = {
        "gold": ["bad", "good"],
        "labels": ranked({"bad": 0.5, "good": 0.1}, {"bad": 0.2, "good": score}),
    }
    for i, (given, more) in enumerate([(columns, {}), (listed, {"top_k": None}), (listed, {})]):
        found = loss(tmp_path / str(i), "text-classification", given, **options, **more)
        assert (found is None) == (bool(options) or score != 0.25)
