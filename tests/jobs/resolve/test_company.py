"""A row's result does not depend on what else is in its unit, its batch or the corpus: of every task."""

from pathlib import Path
from typing import Any

import pytest
from support.task_jobs import COLUMNS, model_of, reads_pairs, same
from workshop import WORDS, Workshop, read_output

from corpusmill.pipeline.tasks import TASKS

WINDOWS = {"max_length": 14, "long_text": "window", "stride": 4}
READ_WHOLE = ("multiple-choice", "next-sentence-prediction")
COMPANIES = {
    "alone": {"input__rows_per_unit": 1, "models__0__tokens_per_batch": 1},
    "a few": {"input__rows_per_unit": 5, "models__0__tokens_per_batch": 40},
    "all at once": {"input__rows_per_unit": 1000, "models__0__tokens_per_batch": 100_000},
    "equal texts again": {"input__rows_per_unit": 1000, "input__deduplicate": False},
}


def long_rows(task: str, count: int = 14) -> list[dict[str, Any]]:
    """Texts from none to several windows with masks, equal ones, nulls, and what goes beside them."""
    texts = [" ".join([*WORDS[i % 5 : i % 5 + 2], "[MASK]", *WORDS] * (i % 3)) for i in range(count)]
    second: list[Any] = [WORDS[i % 3] + " it" for i in range(count)]
    if task == "multiple-choice":
        second = [[WORDS[(i + j) % 9] for j in range(1 + i % 3)] for i in range(count)]
    return [
        {"id": i, "text": None if i == 7 else text, "other": other}
        for i, (text, other) in enumerate(zip(texts, second, strict=True))
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_units_batches_and_equal_texts_change_no_result(workshop: Workshop, folder: Path, task: str) -> None:
    """Beyond rounding; where the task takes windows, texts of several."""
    options = {"max_length": 14} if task in READ_WHOLE else WINDOWS
    if task == "question-answering":
        options = {**options, "top_k": 3}
    workshop.rows(long_rows(task))
    pair = {"input__text_pair": "other"} if reads_pairs(task) else {}
    job = {"models": [model_of(task, folder / task, **options)], **pair}
    workshop.run(**job)
    usual = workshop.read()
    for name, company in COMPANIES.items():
        other = workshop.folder / name
        workshop.run(**job, **company, output__path=str(other))
        found = read_output(other)
        assert found.schema == usual.schema
        columns = [column for column in found.column_names if column != "id"]
        assert len(columns) == len(COLUMNS[task])
        for column in columns:
            assert same(found[column].to_pylist(), usual[column].to_pylist()), (name, column)
