"""The command that measures a finished output: what it prints, counts and refuses."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from finished_outputs import model, ranked, single_labels, spans, vectors, write_finished
from sklearn.metrics import accuracy_score, f1_score
from workshop import Workshop

from corpusmill.jobs.evaluate.evaluation import SCORINGS

NAMES = ["pos", "neg"]


def measured(workshop: Workshop, *arguments: object) -> dict[str, Any]:
    """Return the JSON of a call that ends with 0 and prints nothing else."""
    result = workshop.cli("evaluate", *arguments, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    return dict(json.loads(result.stdout))


def refused(workshop: Workshop, *arguments: object) -> tuple[int, str]:
    """Return the exit code and the one line of an error."""
    result = workshop.cli("evaluate", *arguments)
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    return result.exit_code, result.stderr


def sentiment(
    predicted: Sequence[str | None], gold: Sequence[object], kind: pa.DataType | None = None
) -> pa.Table:
    """A table of labels, as a classification job writes it."""
    return pa.table({"gold": pa.array(gold, kind), **single_labels(predicted, NAMES)})


@pytest.fixture
def output(tmp_path: Path) -> str:
    """Five rows in two files; one without a label, one without a prediction."""
    first = sentiment(["pos", "neg", "pos"], ["pos", "pos", None])
    second = sentiment(["neg", None], ["neg", "neg"])
    return write_finished(tmp_path / "made", [first, second], model("text-classification"))


def test_rows_without_a_label_or_a_prediction_are_left_out_and_counted(
    workshop: Workshop, output: str
) -> None:
    """One object with the record's fields, over all files."""
    found = measured(workshop, output, "--labels", "gold")
    metrics = found.pop("metrics")
    assert found == {
        "output": output,
        "model": None,
        "task": "text-classification",
        "rows": 5,
        "evaluated": 3,
        "without_label": 1,
        "without_prediction": 1,
    }
    assert metrics["accuracy"] == pytest.approx(2 / 3)


def test_the_command_prints_lines(workshop: Workshop, output: str) -> None:
    """Counts, scores, one line per label, and the confusion matrix."""
    result = workshop.cli("evaluate", output, "--labels", "gold")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        f"{output}: text-classification",
        "  5 rows, 3 evaluated, 1 without label, 1 without prediction",
        "  accuracy 0.6667",
        "  micro: precision 0.6667, recall 0.6667, f1 0.6667",
        "  macro: precision 0.7500, recall 0.7500, f1 0.6667",
        "  label  precision  recall      f1     support",
        "  neg       0.5000  1.0000  0.6667           1",
        "  pos       1.0000  0.5000  0.6667           2",
        "  confusion matrix: one row per label, one column per prediction, in the same order",
        "  neg  1  0",
        "  pos  1  1",
        "  loss 0.6539",
    ]


def test_a_large_confusion_matrix_is_left_to_json(workshop: Workshop, tmp_path: Path) -> None:
    """21 labels."""
    names = [f"label{i}" for i in range(21)]
    table = pa.table({"gold": names, **single_labels(names, names)})
    made = write_finished(tmp_path / "made", [table], model("text-classification"))
    last = workshop.cli("evaluate", made, "--labels", "gold").stdout.splitlines()[-2]
    assert last == "  confusion matrix of 21 labels: see --json"
    assert len(measured(workshop, made, "--labels", "gold")["metrics"]["confusion"]["matrix"]) == 21


@pytest.mark.parametrize("output_format", ["arrow", "parquet"])
def test_a_real_job_is_measured(workshop: Workshop, output_format: str) -> None:
    """Against scikit-learn on the rows as they are read back, with null texts and a model chosen by name."""
    gold = [["neg", "pos", "pos"][i % 3] for i in range(30)]
    workshop.rows([{"id": i, "text": f"word {i}" if i % 5 else None, "gold": gold[i]} for i in range(30)])
    workshop.run(
        input__keep=["id", "gold"],
        output__format=output_format,
        models=[
            {"checkpoint": str(workshop.embedder), "name": "vectors"},
            {"checkpoint": str(workshop.classifier), "name": "mood"},
        ],
    )
    found = measured(workshop, workshop.output, "--labels", "gold", "--model", "mood")
    rows = [row for row in workshop.read().to_pylist() if row["mood_label"] is not None]
    expected, predicted = [row["gold"] for row in rows], [row["mood_label"] for row in rows]
    assert (found["model"], found["evaluated"], found["without_prediction"]) == ("mood", 24, 6)
    assert found["metrics"]["accuracy"] == pytest.approx(accuracy_score(expected, predicted))
    assert found["metrics"]["macro"]["f1"] == pytest.approx(f1_score(expected, predicted, average="macro"))
    assert (
        measured(workshop, workshop.output, "--labels", "gold", "--model", "vectors")["metrics"]["groups"]
        == 2
    )


def test_an_output_in_a_store_is_measured(workshop: Workshop, output: str, tmp_path: Path) -> None:
    """By its URL, with the same result."""
    url = f"memory:///{tmp_path.name}/made"
    fsspec.filesystem("memory").put(output, url, recursive=True)
    here, there = (measured(workshop, address, "--labels", "gold") for address in (output, url))
    assert there["metrics"] == here["metrics"]
    assert there["output"] == url


def perfect() -> dict[str, tuple[pa.Table, dict[str, Any]]]:
    """Return right predictions, of each task that has an F1 or an accuracy."""
    labels = ["pos", "neg", "neg", "pos"]
    several = [["a"], ["a", "b"], [], ["c"]]
    places = [[(0, 2, "PER"), (3, 5, "LOC")], [], [(1, 2, "LOC")], [(0, 1, "PER")]]
    return {
        "single": (sentiment(labels, labels), model("text-classification")),
        "several": (
            pa.table({"gold": several, "labels": ranked(*(dict.fromkeys(row, 0.9) for row in several))}),
            model("text-classification"),
        ),
        "spans": (
            pa.table({"gold": spans(*places), "spans": spans(*places)}),
            model("token-classification"),
        ),
        "zero-shot": (
            pa.table({"gold": labels, "labels": ranked(*({label: 0.9, "x": 0.1} for label in labels))}),
            model("zero-shot-classification", candidate_labels=["x", "pos", "neg"]),
        ),
    }


@pytest.mark.parametrize("kind", perfect())
def test_right_predictions_score_1(workshop: Workshop, tmp_path: Path, kind: str) -> None:
    """Averages and every label."""
    table, made = perfect()[kind]
    metrics = measured(workshop, write_finished(tmp_path / "made", [table], made), "--labels", "gold")[
        "metrics"
    ]
    assert metrics["micro"] == metrics["macro"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0}
    assert all(scores["f1"] == 1.0 for scores in metrics["labels"].values())
    assert metrics.get("accuracy", metrics.get("subset_accuracy", 1.0)) == 1.0


@pytest.mark.parametrize("kind", perfect())
def test_order_and_cut_of_the_files_do_not_matter(workshop: Workshop, tmp_path: Path, kind: str) -> None:
    """Mixed predictions in one file, and in three in another order, an empty one among them.

    The loss is a sum in the rows' order, so its last bits may differ.
    """
    table, made = perfect()[kind]
    wrong = table.set_column(0, "gold", table["gold"].take([1, 1, 0, 3]))
    one = write_finished(tmp_path / "one", [wrong], made)
    other = write_finished(tmp_path / "other", [wrong.slice(3), wrong.slice(0, 0), wrong.slice(0, 3)], made)
    found = [measured(workshop, output, "--labels", "gold")["metrics"] for output in (one, other)]
    losses = [metrics.pop("loss", None) for metrics in found]
    assert losses[0] == (None if losses[1] is None else pytest.approx(losses[1]))
    assert found[0] == found[1]
    assert found[0]["micro"]["f1"] < 1


def test_a_column_that_was_not_kept_is_reported(workshop: Workshop, output: str) -> None:
    """Also a column of the predictions; the error has the kept columns, and what to do."""
    for column in ("stars", "label"):
        code, line = refused(workshop, output, "--labels", column)
        assert code == 2
        assert line == (
            f"error: --labels: expected a column that the job kept (gold), got '{column}'; add it to "
            "input.keep and run the job with another output.path\n"
        )


def test_an_unfinished_output_is_reported(workshop: Workshop, output: str) -> None:
    """Its rows so far are not evaluated."""
    (Path(output) / "_manifest.parquet").unlink()
    code, line = refused(workshop, output, "--labels", "gold")
    assert code == 1
    assert f"{output}: expected a finished output, found no _manifest.parquet; finish the job" in line


def test_a_folder_that_is_no_output_is_reported(workshop: Workshop) -> None:
    """Before anything else."""
    code, line = refused(workshop, workshop.folder, "--labels", "gold")
    assert code == 1
    assert "expected the output folder of a job" in line


def test_one_of_several_models_has_to_be_named(workshop: Workshop, tmp_path: Path) -> None:
    """The names are listed; so they are for an unknown one."""
    table = pa.table(
        {
            "gold": ["pos"],
            **single_labels(["pos"], NAMES, prefix="a_"),
            **single_labels(["neg"], NAMES, prefix="b_"),
        }
    )
    models = [model("text-classification", name) for name in "ab"]
    made = write_finished(tmp_path / "made", [table], *models)
    for arguments in ((), ("--model", "c")):
        code, line = refused(workshop, made, "--labels", "gold", *arguments)
        assert (code, "--model: " in line, "a, b" in line) == (2, True, True)
    found = {name: measured(workshop, made, "--labels", "gold", "--model", name) for name in "ab"}
    assert {name: one["metrics"]["accuracy"] for name, one in found.items()} == {"a": 1.0, "b": 0.0}


def test_a_model_without_a_name_has_none_to_give(workshop: Workshop, output: str) -> None:
    """The only model is chosen without `--model`."""
    code, line = refused(workshop, output, "--labels", "gold", "--model", "mood")
    assert (code, "leave --model out" in line) == (2, True)


@pytest.mark.parametrize("task", ["sparse-embedding", "token-embedding"])
def test_tasks_that_no_label_measures_are_refused(workshop: Workshop, tmp_path: Path, task: str) -> None:
    """The error lists the tasks that can be evaluated."""
    made = write_finished(tmp_path / "made", [pa.table({"gold": ["a"]})], model(task))
    code, line = refused(workshop, made, "--labels", "gold")
    assert (code, line) == (2, f"error: --model: expected predictions of {', '.join(SCORINGS)}, got {task}\n")


@pytest.mark.parametrize("argument", [("--pairs", "gold"), ("--threshold", "0.3"), ("--queries", "gold")])
def test_an_argument_that_a_task_does_not_use_is_refused(
    workshop: Workshop, output: str, argument: tuple[str, str]
) -> None:
    """It is not ignored."""
    code, line = refused(workshop, output, "--labels", "gold", *argument)
    assert (code, f"{argument[0]}: the scores of column" in line) == (2, True)


@pytest.mark.parametrize(
    ("task", "column"),
    [
        ("text-classification", single_labels(["pos"], NAMES)),
        ("text-classification", {"labels": ranked({"pos": 1.0})}),
        ("text-classification", {"value": pa.array([1.0], pa.float32())}),
        ("zero-shot-classification", {"labels": ranked({"pos": 1.0})}),
        ("token-classification", {"spans": spans([])}),
        ("question-answering", {"answer": [{"text": "a"}]}),
        ("embedding", {"embedding": vectors([[1.0]], pa.float32())}),
        ("reranking", {"score": pa.array([1.0], pa.float32())}),
        ("multiple-choice", {"choice": [1], "scores": [[0.5, 0.5]]}),
        ("next-sentence-prediction", {"is_next": [True], "score": [0.5]}),
        ("fill-mask", {"predictions": [[[{"token": "a"}]]]}),
    ],
)
def test_labels_of_a_wrong_type_are_reported(
    workshop: Workshop, tmp_path: Path, task: str, column: dict[str, Any]
) -> None:
    """The error has the expected type and the column's type."""
    gold = pa.array([{"x": 1}])
    made = write_finished(tmp_path / "made", [pa.table({"gold": gold, **column})], model(task))
    code, line = refused(workshop, made, "--labels", "gold")
    assert code == 2
    assert "error: --labels: expected " in line
    assert line.endswith(f"for {task}, got column 'gold' of type struct<x: int64>\n")


def test_every_kind_is_in_the_table_of_wrong_types() -> None:
    """A new task has to be added to the test above."""
    marks = test_labels_of_a_wrong_type_are_reported.pytestmark  # type: ignore[attr-defined]
    assert {task for task, _ in marks[0].args[1]} == set(SCORINGS)


def test_an_output_without_a_row_to_measure_is_reported(workshop: Workshop, tmp_path: Path) -> None:
    """There is no score without rows."""
    table = sentiment(["pos", None], [None, "pos"])
    made = write_finished(tmp_path / "made", [table], model("text-classification"))
    code, line = refused(workshop, made, "--labels", "gold")
    assert code == 1
    assert "got 2 rows, 1 without a label and 1 without a prediction" in line


def test_an_output_without_files_is_reported(workshop: Workshop, tmp_path: Path) -> None:
    """There is no column either."""
    made = write_finished(tmp_path / "made", [], model("text-classification"))
    code, line = refused(workshop, made, "--labels", "gold")
    assert (code, "expected data files, got a manifest that names none" in line) == (1, True)


def test_a_lost_data_file_is_reported(workshop: Workshop, output: str) -> None:
    """Scores of the other files would be wrong."""
    lost = sorted((Path(output) / "data").iterdir())[1]
    lost.unlink()
    code, line = refused(workshop, output, "--labels", "gold")
    assert code == 1
    assert f"{lost}: cannot be read" in line
    assert "corpusmill verify" in line


def test_a_damaged_manifest_is_reported(workshop: Workshop, output: str) -> None:
    """One line."""
    manifest = Path(output) / "_manifest.parquet"
    pq.write_table(pa.table({"unit": ["a"]}), manifest)
    code, line = refused(workshop, output, "--labels", "gold")
    assert (code, "expected the columns of a manifest" in line) == (1, True)


def test_a_damaged_record_of_the_job_is_reported(workshop: Workshop, output: str) -> None:
    """Without a model there is nothing to choose."""
    path = Path(output) / "_job" / "fingerprint.json"
    job = json.loads(path.read_text())
    del job["models[0].task"]
    path.write_text(json.dumps(job))
    code, line = refused(workshop, output, "--labels", "gold")
    assert (code, "expected the models of the output's job" in line) == (1, True)


def test_without_scikit_learn_its_installation_is_reported(
    workshop: Workshop, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error has the extra's name, in one line."""
    monkeypatch.setitem(sys.modules, "sklearn.metrics", None)
    code, line = refused(workshop, output, "--labels", "gold")
    assert (code, "pip install 'corpusmill[evaluate]'" in line) == (1, True)
