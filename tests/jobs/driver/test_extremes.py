"""Texts at the limits, in every task: as docs/tasks.md says."""

from pathlib import Path
from typing import Any

import pytest
from support.task_jobs import COLUMNS, model_of, same
from workshop import Workshop, read_output

from corpusmill.pipeline.tasks import TASKS

MAX_LENGTH = 16
BOOK = 19_000
"""Tokens of a long document."""
ROOM = {"question-answering": 11, "multiple-choice": 12, "next-sentence-prediction": 12, "reranking": 12}
"""Tokens of a text that fit beside `[CLS]`, `[SEP]`s and what stands with the text, where that is not 14."""
SECOND = {
    "question-answering": "who is",
    "multiple-choice": ["night"],
    "next-sentence-prediction": "night",
    "reranking": "night",
}
"""What stands beside each text."""
EMPTY: dict[str, Any] = {
    "token_embeddings": [],
    "token_offsets": [],
    "spans": [],
    "predictions": [],
    "answer": None,
}
"""What a text without tokens gives, where that is not the result of the special tokens alone."""
COUNTED = {"token-embedding": "token_offsets", "fill-mask": "predictions"}
"""Columns with an entry a token of these texts."""
WITH_WINDOWS = [task for task in TASKS if task not in ("multiple-choice", "next-sentence-prediction")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


def word(task: str) -> str:
    return "[MASK] " if task == "fill-mask" else "night "


def results(
    workshop: Workshop, folder: Path, task: str, texts: list[str | None], **options: Any
) -> list[Any]:
    """Each text's columns, as a job of one model gives them."""
    if task == "zero-shot-classification":
        options["candidate_labels"] = ["house"]
        options["hypothesis_template"] = "{}"
    workshop.rows([{"id": i, "text": text, "other": SECOND.get(task)} for i, text in enumerate(texts)])
    pair = {"input__text_pair": "other"} if task in SECOND else {}
    model = model_of(task, folder / task, **{"max_length": MAX_LENGTH, **options})
    output = workshop.folder / ("windows" if "stride" in options else "cut")
    result = workshop.run(models=[model], input__keep=[], output__path=str(output), **pair)
    assert (result.rows, result.rejected) == (len(texts), 0)
    found: list[dict[str, Any]] = read_output(output).to_pylist()
    return found


def room(task: str) -> int:
    return 12 if task == "zero-shot-classification" else ROOM.get(task, MAX_LENGTH - 2)


@pytest.mark.parametrize("task", TASKS)
def test_nothing_is_a_text_like_any_other(workshop: Workshop, folder: Path, task: str) -> None:
    """Null gives null; no character and white space only give the same: what the task has for no tokens."""
    null, empty, blank = results(workshop, folder, task, [None, "", " \t\n\u3000"])
    assert null == dict.fromkeys(COLUMNS[task])
    assert same(blank, empty)
    for column, value in empty.items():
        if column in EMPTY:
            assert value == EMPTY[column]
        else:
            assert value is not None


@pytest.mark.parametrize("task", TASKS)
def test_special_tokens_alone_are_tokens(workshop: Workshop, folder: Path, task: str) -> None:
    """Written out they are no white space: another result than that of an empty text, none of it null."""
    one, empty = results(workshop, folder, task, ["[SEP] [SEP]", ""])
    assert all(value is not None for value in one.values())
    if task == "fill-mask":
        assert one == {"predictions": []}
    elif task == "token-embedding":
        assert one["token_offsets"] == [{"start": 0, "end": 5}, {"start": 6, "end": 11}]
    elif task == "multiple-choice":
        assert one == empty == {"choice": 0, "scores": [1.0]}
    else:
        assert not same(one, empty)


@pytest.mark.parametrize("task", TASKS)
def test_what_does_not_fit_is_as_if_it_were_not_there(workshop: Workshop, folder: Path, task: str) -> None:
    """Exactly `max_length`, one token more and 19,000 of them give one result; one token less another."""
    lengths = [room(task), room(task) + 1, BOOK, room(task) - 1]
    texts: list[str | None] = [word(task) * length for length in lengths]
    full, over, book, short = results(workshop, folder, task, texts)
    assert same(over, full)
    assert same(book, full)
    if task not in ("multiple-choice", "question-answering", "token-classification"):
        assert not same(short, full)


@pytest.mark.parametrize("task", WITH_WINDOWS)
def test_windows_begin_where_a_text_no_longer_fits(workshop: Workshop, folder: Path, task: str) -> None:
    """Exactly `max_length` is one window, as if truncated; one token more is seen."""
    lengths = [1, room(task), room(task) + 1]
    texts: list[str | None] = [word(task) * length for length in lengths]
    cut = results(workshop, folder, task, texts[:2])
    found = results(workshop, folder, task, texts, long_text="window", stride=4)
    assert same(found[:2], cut)
    if task in COUNTED:
        assert [len(row[COUNTED[task]]) for row in found] == lengths
    elif task not in ("token-classification", "question-answering"):
        assert not same(found[2], found[1])


@pytest.mark.parametrize("task", WITH_WINDOWS)
def test_a_document_of_19000_tokens_is_read_to_its_end(workshop: Workshop, folder: Path, task: str) -> None:
    """A row like any other, beside a short one; its last token has a result of its own."""
    texts: list[str | None] = [word(task) * BOOK, word(task)]
    book, one = results(workshop, folder, task, texts, max_length=128, long_text="window", stride=8)
    assert book.keys() == one.keys()
    assert all(value is not None for value in book.values())
    if task in COUNTED:
        assert len(book[COUNTED[task]]) == BOOK
    if task == "token-embedding":
        assert book["token_offsets"][-1] == {"start": (BOOK - 1) * 6, "end": BOOK * 6 - 1}


@pytest.mark.parametrize("labels", [[], None])
def test_no_candidate_label_is_refused_before_anything_runs(
    workshop: Workshop, folder: Path, labels: list[str] | None
) -> None:
    """With the field's name, and nothing is written."""
    workshop.rows([{"id": 1, "text": "night"}])
    made = model_of("zero-shot-classification", folder / "zero-shot-classification")
    result = workshop.cli("run", workshop.job(models=[made | {"candidate_labels": labels}]))
    assert result.exit_code == 2
    assert "models[0].candidate_labels" in result.stderr
    assert not workshop.output.exists()
