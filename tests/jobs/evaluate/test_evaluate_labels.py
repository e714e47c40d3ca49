"""Labels, several labels, spans, numbers and choices, on cases that can be counted by hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from finished_outputs import (
    GOLD_SPANS,
    choice_scores,
    masks,
    model,
    ranked,
    single_labels,
    spans,
    write_finished,
)
from sklearn.metrics import classification_report, mean_absolute_error, r2_score

from corpusmill.jobs.evaluate import EvaluateError, Evaluation, evaluate


def scored(folder: Path, task: str, columns: dict[str, Any], **options: Any) -> Evaluation:
    """The evaluation of an output with these columns; `threshold` is the command's, the rest the job's."""
    threshold = options.pop("at", None)
    made = write_finished(folder / "made", [pa.table(columns)], model(task, **options))
    return evaluate(made, "gold", threshold=threshold)


def averages(metrics: dict[str, Any]) -> list[float]:
    """Micro, then macro: precision, recall, F1."""
    return [
        metrics[average][part] for average in ("micro", "macro") for part in ("precision", "recall", "f1")
    ]


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_scikit_learns_on_every_row(tmp_path: Path, seed: int) -> None:
    """Counting equal rows changes no score; a label that is never predicted scores 0."""
    generator = np.random.default_rng(seed)
    names = ["c", "a", "b", "never"]
    gold = generator.choice(names, 200).tolist()
    predicted = generator.choice(names[:3], 200).tolist()
    columns = {"gold": gold, **single_labels(predicted, names)}
    metrics = scored(tmp_path, "text-classification", columns).metrics
    expected = classification_report(gold, predicted, output_dict=True, zero_division=0)
    assert list(metrics["labels"]) == ["a", "b", "c", "never"]
    for name, found in {**metrics["labels"], "macro avg": metrics["macro"]}.items():
        row = expected[name]
        assert [found["precision"], found["recall"], found["f1"]] == pytest.approx(
            [row["precision"], row["recall"], row["f1-score"]]
        )
    assert [found["support"] for found in metrics["labels"].values()] == [
        gold.count(x) for x in sorted(names)
    ]
    assert metrics["accuracy"] == metrics["micro"]["f1"] == pytest.approx(expected["accuracy"])
    pairs = list(zip(gold, predicted, strict=True))
    confusion = metrics["confusion"]
    assert confusion["matrix"] == [[pairs.count((g, p)) for p in sorted(names)] for g in sorted(names)]


def test_a_dictionary_of_labels_is_taken(tmp_path: Path) -> None:
    """As Parquet files have them."""
    columns = {
        "gold": pa.array(["b", "a", None]).dictionary_encode(),
        **single_labels(["b", "b", "b"], ["a", "b"]),
    }
    found = scored(tmp_path, "text-classification", columns)
    assert (found.evaluated, found.metrics["accuracy"]) == (2, 0.5)


@pytest.mark.parametrize("output_format", ["arrow", "parquet"])
def test_integers_are_the_ids_of_the_checkpoints_labels(tmp_path: Path, output_format: str) -> None:
    """Also if a file lacks some or all labels, and if the labels are their own ids."""
    for folder, names in (("words", ["bad", "fair", "good"]), ("numbers", ["0", "1", "2"])):
        tables = [
            pa.table({"gold": [2, 1], **single_labels([names[2], names[2]], names)}),
            pa.table({"gold": [0], **single_labels([names[0]], names)}),
            pa.table({"gold": pa.nulls(1, pa.int64()), **single_labels([names[0]], names)}),
        ]
        made = write_finished(
            tmp_path / folder, tables, model("text-classification"), output_format=output_format
        )
        metrics = evaluate(made, "gold").metrics
        assert metrics["accuracy"] == pytest.approx(2 / 3)
        assert metrics["confusion"] == {"labels": names, "matrix": [[1, 0, 0], [0, 0, 1], [0, 0, 1]]}


@pytest.mark.parametrize(
    ("names", "gold", "message"),
    [
        (["1", "2", "3"], [1, 2], "could be the labels 1, 2, 3 or their ids"),
        (["1", "0"], [1, 0], "could be the labels 1, 0 or their ids"),
        (["neg", "pos"], [1, 2], "expected ids from 0 to 1 of the labels neg, pos, got 1 to 2"),
        (["neg", "pos"], [-1, 1], "expected ids from 0 to 1 of the labels neg, pos, got -1 to 1"),
    ],
)
def test_integers_that_could_mean_something_else_are_refused(
    tmp_path: Path, names: list[str], gold: list[int], message: str
) -> None:
    """A wrong score would be worse than none."""
    columns = {"gold": gold, **single_labels([names[0]] * 2, names)}
    with pytest.raises(EvaluateError, match=message) as raised:
        scored(tmp_path, "text-classification", columns)
    assert raised.value.field == "--labels"


def test_labels_of_another_kind_are_reported(tmp_path: Path) -> None:
    """A score of 0 would be misleading. If some labels are the model's, the others count as wrong."""
    columns = {"gold": ["POS", "NEG"], **single_labels(["pos", "neg"], ["pos", "neg"])}
    with pytest.raises(
        EvaluateError, match=r"checkpoint \(neg, pos\), got only others \(NEG, POS\)"
    ) as raised:
        scored(tmp_path / "none", "text-classification", columns)
    assert raised.value.field == "--labels"
    columns["gold"] = ["POS", "neg"]
    assert scored(tmp_path / "some", "text-classification", columns).metrics["accuracy"] == 0.5


def test_of_several_candidates_the_first_counts(tmp_path: Path) -> None:
    """Zero-shot without `multi_label`, whatever the score; a row that lists none has no prediction."""
    columns = {
        "gold": ["a", "a", "b", "b"],
        "labels": ranked({"a": 0.4, "b": 0.3}, {"a": 0.2, "b": 0.7}, {}, None),
    }
    found = scored(tmp_path, "zero-shot-classification", columns, candidate_labels=["a", "b"])
    assert (found.evaluated, found.without_prediction, found.metrics["accuracy"]) == (2, 2, 0.5)


def test_the_first_of_a_classifiers_top_k_counts(tmp_path: Path) -> None:
    """With one label per row; lists of labels mean that the checkpoint is a multi-label one."""
    labels = ranked({"a": 0.6, "b": 0.55}, {"a": 0.7, "b": 0.3})
    single = scored(tmp_path / "1", "text-classification", {"gold": ["a", "b"], "labels": labels}, top_k=2)
    assert single.metrics["accuracy"] == 0.5
    lists = {"gold": [["a", "b"], ["b"]], "labels": labels}
    several = scored(tmp_path / "2", "text-classification", lists, top_k=2)
    assert several.metrics["subset_accuracy"] == 0.5


MULTI = {
    # From 0.5 on: a right and b wrong; c instead of a; c right, b and d missed; none and none.
    "gold": [["a"], ["a"], ["b", "c", "d"], [], None],
    "labels": ranked(
        {"a": 0.9, "b": 0.7, "c": 0.1}, {"c": 0.5, "a": 0.49}, {"c": 0.8, "b": 0.2}, {"a": 0.3}, {"a": 0.9}
    ),
}


def test_several_labels_a_row_count_from_the_threshold_on(tmp_path: Path) -> None:
    """0.5 itself counts. a: 1 of 2 found; b: 1 wrong, 1 missed; c: 2 predicted, 1 right; d: missed."""
    found = scored(tmp_path, "text-classification", MULTI)
    metrics = found.metrics
    assert (found.evaluated, found.without_label, metrics["threshold"]) == (4, 1, 0.5)
    assert metrics["subset_accuracy"] == 0.25  # only the row without labels
    assert {name: tuple(scores.values()) for name, scores in metrics["labels"].items()} == {
        "a": (1.0, 0.5, pytest.approx(2 / 3), 2),
        "b": (0.0, 0.0, 0.0, 1),
        "c": (0.5, 1.0, pytest.approx(2 / 3), 1),
        "d": (0.0, 0.0, 0.0, 1),
    }
    assert averages(metrics) == pytest.approx([2 / 4, 2 / 5, 4 / 9, 1.5 / 4, 1.5 / 4, (4 / 3) / 4])


def test_another_threshold(tmp_path: Path) -> None:
    """0.7 as a float32 is a little less than 0.7, and still reaches it."""
    metrics = scored(tmp_path, "zero-shot-classification", MULTI, multi_label=True, at=0.7).metrics
    assert metrics["threshold"] == 0.7
    assert metrics["labels"]["b"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}
    assert metrics["labels"]["c"]["precision"] == 1.0
    assert metrics["micro"]["precision"] == pytest.approx(2 / 3)


def test_one_label_a_row_is_a_list_of_one(tmp_path: Path) -> None:
    """For a multi-label checkpoint."""
    columns = {"gold": ["a", "b", None], "labels": ranked({"a": 0.9, "b": 0.8}, {"b": 0.9}, {"a": 0.9})}
    found = scored(tmp_path, "text-classification", columns)
    assert (found.evaluated, found.metrics["subset_accuracy"]) == (2, 0.5)


def test_a_threshold_is_a_probability(tmp_path: Path) -> None:
    """1.5 is refused."""
    with pytest.raises(EvaluateError, match=r"from 0 to 1, got 1\.5") as raised:
        scored(tmp_path, "text-classification", MULTI, at=1.5)
    assert raised.value.field == "--threshold"


def test_labels_that_are_nowhere_cannot_be_scored(tmp_path: Path) -> None:
    """Neither gold nor predicted ones."""
    columns = {"gold": pa.array([[], []], pa.list_(pa.string())), "labels": ranked({}, {"a": 0.1})}
    with pytest.raises(EvaluateError, match="expected labels, got none in the column"):
        scored(tmp_path, "text-classification", columns)


GOLD: Sequence[Sequence[tuple[int, int, str]] | None] = [
    [(0, 4, "PER"), (10, 14, "LOC")],
    [(3, 9, "ORG")],
    [],
    [(0, 2, "PER")],
    None,
]
PREDICTED: Sequence[Sequence[tuple[int, int, str]] | None] = [
    [(0, 4, "PER"), (10, 13, "LOC")],  # right, wrong end
    [(3, 9, "LOC")],  # wrong label
    [(5, 6, "PER")],  # nothing there
    [(0, 2, "PER")],  # right
    [(0, 1, "PER")],
]


def test_spans_count_when_start_end_and_label_are_right(tmp_path: Path) -> None:
    """seqeval: 2 of 5 predicted are right, of 4 in the gold; macro over LOC 0, ORG 0, PER 2/3, 1 and 4/5."""
    columns = {"gold": spans(*GOLD, kind=GOLD_SPANS), "spans": spans(*PREDICTED)}
    found = scored(tmp_path, "token-classification", columns)
    assert (found.evaluated, found.without_label) == (4, 1)
    assert averages(found.metrics) == pytest.approx([2 / 5, 2 / 4, 4 / 9, 2 / 9, 1 / 3, 4 / 15])
    assert found.metrics["labels"]["PER"] == pytest.approx(
        {"precision": 2 / 3, "recall": 1.0, "f1": 0.8, "support": 2}
    )
    assert {name: scores["support"] for name, scores in found.metrics["labels"].items()} == {
        "LOC": 1,
        "ORG": 1,
        "PER": 2,
    }


def test_the_same_span_in_another_row_is_another_span(tmp_path: Path) -> None:
    """Rows are never mixed."""
    columns = {"gold": spans([(0, 1, "A")], []), "spans": spans([], [(0, 1, "A")])}
    assert averages(scored(tmp_path, "token-classification", columns).metrics) == [0.0] * 6


def test_values_are_correlated_and_subtracted(tmp_path: Path) -> None:
    """Gold 1 2 3 10 against 2 4 6 8: ranks agree; mean error (1+2+3+2)/4; NaN is no label."""
    columns = {
        "gold": [1, 2, 3, 10, float("nan"), None, 5],
        "value": pa.array([2, 4, 6, 8, 1, 1, None], pa.float32()),
    }
    found = scored(tmp_path, "text-classification", columns)
    assert (found.evaluated, found.without_label, found.without_prediction) == (4, 2, 1)
    assert found.metrics == {
        "pearson": pytest.approx(np.corrcoef([1, 2, 3, 10], [2, 4, 6, 8])[0, 1]),
        "spearman": pytest.approx(1.0),
        "mean_absolute_error": pytest.approx(2.0),
        "r2": pytest.approx(r2_score([1, 2, 3, 10], [2, 4, 6, 8])),
        "loss": pytest.approx((1 + 4 + 9 + 4) / 4),
    }
    assert found.metrics["mean_absolute_error"] == mean_absolute_error([1, 2, 3, 10], [2, 4, 6, 8])


def test_what_is_not_defined_is_null(tmp_path: Path) -> None:
    """Equal labels have no correlation."""
    columns = {"gold": [3, 3], "value": pa.array([1, 2], pa.float32())}
    metrics = scored(tmp_path, "text-classification", columns).metrics
    assert metrics == {
        "pearson": None,
        "spearman": None,
        "mean_absolute_error": 1.5,
        "r2": None,
        "loss": 2.5,
    }


def test_choices_are_counted(tmp_path: Path) -> None:
    """From 0, of any integer type; rows differ in their numbers of choices."""
    columns = {
        "gold": [0, 2, 1, 3, None],
        "choice": pa.array([0, 2, 0, 3, 1], pa.int32()),
        "scores": choice_scores([0.5, 0.5], [0.1, 0.1, 0.8], [0.75, 0.25], [0.2, 0.2, 0.2, 0.4], [0.1, 0.9]),
    }
    found = scored(tmp_path, "multiple-choice", columns)
    loss = -np.mean(np.log([0.5, 0.8, 0.25, 0.4]))
    assert (found.evaluated, found.metrics) == (4, {"accuracy": 0.75, "loss": pytest.approx(loss)})


@pytest.mark.parametrize("label", [2, -1])
def test_a_choice_that_is_not_there_is_reported(tmp_path: Path, label: int) -> None:
    """The choices are probably counted from 1 and would be scored wrongly."""
    columns = {
        "gold": [0, label],
        "choice": pa.array([0, 0], pa.int32()),
        "scores": choice_scores([0.5, 0.3, 0.2], [0.75, 0.25]),
    }
    with pytest.raises(EvaluateError, match=f"expected a choice from 0 to 1, got {label}") as raised:
        scored(tmp_path, "multiple-choice", columns)
    assert raised.value.field == "--labels"


def test_next_sentences_are_counted(tmp_path: Path) -> None:
    """3 are predicted to follow, 2 do; both are found."""
    columns = {
        "gold": [True, True, False, False, None],
        "is_next": [True, True, True, False, True],
        "score": pa.array([0.9, 0.5, 0.75, 0.25, 0.5], pa.float32()),
    }
    metrics = scored(tmp_path, "next-sentence-prediction", columns).metrics
    assert metrics == {
        "accuracy": 0.75,
        "precision": pytest.approx(2 / 3),
        "recall": 1.0,
        "f1": pytest.approx(0.8),
        "loss": pytest.approx(-np.mean(np.log([0.9, 0.5, 0.25, 0.75]))),
    }


def test_no_next_sentence_at_all(tmp_path: Path) -> None:
    """Then F1 is 0, without a warning, and a score of 0 is certain."""
    columns = {
        "gold": [False, False],
        "is_next": [False, False],
        "score": pa.array([0.0, 0.0], pa.float32()),
    }
    metrics = scored(tmp_path, "next-sentence-prediction", columns).metrics
    assert metrics == {"accuracy": 1.0, "precision": 0.0, "recall": 0.0, "f1": 0.0, "loss": 0.0}


def test_words_for_masks_are_counted(tmp_path: Path) -> None:
    """4 words: the first choice twice, in the list three times, one whose mask was cut away."""
    columns = {
        "gold": [["paris", "red"], ["dog", "lost"], None],
        "predictions": masks([["paris", "rome"], ["blue", " red"]], [["dog", "cat"]], [["x", "y"]]),
    }
    found = scored(tmp_path, "fill-mask", columns)
    assert found.evaluated == 2
    assert found.metrics == {"masks": 4, "accuracy@1": 0.5, "accuracy@2": 0.75}


def test_one_word_for_one_mask(tmp_path: Path) -> None:
    """A string; with one prediction a mask there is no second share."""
    columns = {"gold": ["a", "b"], "predictions": masks([["a"]], [["c"]])}
    assert scored(tmp_path, "fill-mask", columns).metrics == {"masks": 2, "accuracy@1": 0.5}


def test_masks_without_a_word_are_reported(tmp_path: Path) -> None:
    """The words are probably those of another column."""
    columns = {"gold": ["a"], "predictions": masks([["a"], ["b"]])}
    with pytest.raises(EvaluateError, match="got 1 for a row with 2 masks"):
        scored(tmp_path, "fill-mask", columns)
