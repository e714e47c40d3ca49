"""Every head of every architecture is used by a job, and every task's columns hold what the contract says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.task_jobs import COLUMNS, LABELS, MADE_FOR, OPTIONS, SINGLE, reads_pairs, rows, same
from support.tiny_checkpoints import write_checkpoint
from workshop import Workshop, read_output

from corpusmill.models.architectures import ARCHITECTURES
from corpusmill.models.heads import HEADS
from corpusmill.pipeline.tasks import TASKS

CELLS = [
    (architecture, head)
    for architecture, described in ARCHITECTURES.items()
    for head in HEADS
    if head not in described.lacks and head not in ("embedding", "sparse-embedding")
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    written: dict[Any, Path] = {}

    def make(architecture: str, head: str, **options: Any) -> Path:
        key = (architecture, head, *options.values())
        if key not in written:
            written[key] = write_checkpoint(tmp_path_factory.mktemp("made"), architecture, head, **options)
        return written[key]

    return make


def verified(workshop: Workshop) -> None:
    result = workshop.cli("verify", workshop.output)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(("architecture", "head"), CELLS, ids=["-".join(cell) for cell in CELLS])
def test_a_checkpoint_of_every_head_is_used_by_a_job(
    workshop: Workshop, checkpoint: Callable[..., Path], architecture: str, head: str
) -> None:
    """With no task named: the one it was made for; every row is there, and the output verifies."""
    task = HEADS[head].job_task
    workshop.rows(rows(task))
    pair = {"input__text_pair": "other"} if reads_pairs(task) else {}
    result = workshop.run(models=[{"checkpoint": str(checkpoint(architecture, head))}], **pair)
    assert (result.rows, result.rejected) == (20, 0)
    table = workshop.read()
    assert table.column_names == ["id", *COLUMNS[task]]
    assert table["id"].to_pylist() == list(range(20))
    missing = [row["text"] is None or (bool(pair) and not row["other"]) for row in rows(task)]
    for name in COLUMNS[task]:
        assert [value is None for value in table[name].to_pylist()] == missing
    verified(workshop)


@pytest.mark.parametrize("task", TASKS)
def test_a_tasks_columns_are_the_contracts(
    workshop: Workshop, checkpoint: Callable[..., Path], task: str
) -> None:
    """Names and types, with the model's prefix; windows where the task takes them."""
    labels = {"labels": LABELS[task]} if task in LABELS else {}
    folder = checkpoint("bert", MADE_FOR.get(task, task), **labels)
    workshop.rows(rows(task))
    pair = {"input__text_pair": "other"} if reads_pairs(task) else {}
    made = {"checkpoint": str(folder), "task": task, "name": "m", **OPTIONS.get(task, {})}
    if task not in ("multiple-choice", "next-sentence-prediction"):
        made |= {"long_text": "window", "stride": 2, "max_length": 12}
    workshop.run(models=[made], input__keep=[], **pair)
    table = workshop.read()
    assert table.schema == pa.schema([(f"m_{name}", kind) for name, kind in COLUMNS[task].items()])
    assert table.num_rows == 20
    verified(workshop)


@pytest.mark.parametrize("task", ["multiple-choice", "next-sentence-prediction"])
def test_tasks_that_read_texts_whole_take_no_windows(
    workshop: Workshop, checkpoint: Callable[..., Path], task: str
) -> None:
    """Said of the field, before anything runs."""
    workshop.rows(rows(task))
    model = {"checkpoint": str(checkpoint("bert", task)), "long_text": "window"}
    result = workshop.cli("run", workshop.job(models=[model], input__text_pair="other"))
    assert result.exit_code == 2
    expected = f"models[0].long_text: expected truncate, got window: {task} reads a text as a whole"
    assert expected in result.stderr


def test_all_tasks_in_one_pass(workshop: Workshop, checkpoint: Callable[..., Path]) -> None:
    """All models, one tokenizer: each gives what it gives in a job of its own."""
    named = {}
    for task in SINGLE:
        labels = {"labels": LABELS[task]} if task in LABELS else {}
        folder = checkpoint("bert", MADE_FOR.get(task, task), **labels)
        named[task] = {"checkpoint": str(folder), "task": task, "dtype": "float32", **OPTIONS.get(task, {})}
    workshop.rows(rows("embedding"))
    models = [model | {"name": task.replace("-", "_")} for task, model in named.items()]
    workshop.run(models=models, input__text_pair="other")
    together = workshop.read()
    assert together.num_columns == 1 + sum(len(COLUMNS[task]) for task in named)
    for task, model in named.items():
        pair = {"input__text_pair": "other"} if reads_pairs(task) or task == "text-classification" else {}
        output = workshop.folder / task
        workshop.run(models=[model], output__path=str(output), **pair)
        alone = read_output(output)
        for name in COLUMNS[task]:
            found = together[f"{task.replace('-', '_')}_{name}"].to_pylist()
            assert same(found, alone[name].to_pylist())
