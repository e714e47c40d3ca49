"""Texts of every length through a job: cut or windowed as by hand, equal ones computed once."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import AutoTokenizer
from workshop import Workshop, read_output, texts

from corpusmill.jobs import JobConfig
from corpusmill.jobs.resolve.job import resolve
from corpusmill.models import PackedTokens, load_model

MAX_LENGTH, STRIDE = 12, 4
TEXTS = [
    "the water runs down to the old house and they watch it all night with a good book",
    None,
    "",
    " \t\n",
    "night",
    "night " * (MAX_LENGTH - 2),
    "night " * (MAX_LENGTH - 1),
    "water and house, " * 30,
    "night",
]
LONG = "good water " * 9_500
"""Of 19,000 tokens."""
TASKS = ("embedding", "text-classification")
WINDOWS = {"long_text": "window", "stride": STRIDE}


def checkpoint_of(workshop: Workshop, task: str) -> Path:
    return workshop.embedder if task == "embedding" else workshop.classifier


def model_of(workshop: Workshop, task: str, **options: Any) -> dict[str, Any]:
    """A model of a job that writes one vector a row: the embedding, or the scores of all labels."""
    options |= {} if task == "embedding" else {"top_k": None}
    return {"checkpoint": str(checkpoint_of(workshop, task)), "task": task, **options}


def vectors(table: pa.Table, task: str) -> list[np.ndarray[Any, Any] | None]:
    """What each row got; the scores in the order of the labels' names."""
    if task == "embedding":
        return [row and np.array(row) for row in table["embedding"].to_pylist()]
    return [
        row and np.array([item["score"] for item in sorted(row, key=lambda item: item["label"])])
        for row in table["labels"].to_pylist()
    ]


def by_hand(
    folder: Path, task: str, text: str, *, stride: int | None, combine: str, max_length: int = MAX_LENGTH
) -> Any:
    """Windows as transformers cuts them, each through the model, and their results combined by numpy."""
    windows = AutoTokenizer.from_pretrained(folder)(
        text,
        truncation=True,
        max_length=max_length,
        stride=stride or 0,
        return_overflowing_tokens=stride is not None,
    )["input_ids"]
    sequences = [windows] if stride is None else windows
    found = load_model(folder, task=task)(PackedTokens.from_sequences(sequences))
    values = found.embeddings if task == "embedding" else found.logits.softmax(-1)
    values_ND = values.detach().numpy().astype(np.float64)
    weights = [max(len(ids) - 2, 1) for ids in sequences]
    vector = {
        "mean": np.average(values_ND, axis=0, weights=weights),
        "max": values_ND.max(axis=0),
        "first": values_ND[0],
    }[combine]
    return vector / np.linalg.norm(vector) if task == "embedding" else vector


def same(found: list[Any], expected: list[Any]) -> None:
    assert [row is None for row in found] == [row is None for row in expected]
    for one, other in zip(found, expected, strict=True):
        if other is not None:
            np.testing.assert_allclose(one, other, atol=2e-5)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("combine", ["mean", "max", "first"])
def test_windows_are_those_made_by_hand(workshop: Workshop, task: str, combine: str) -> None:
    """No text, no character, no word, one token, a full window, one token more."""
    workshop.rows([{"id": i, "text": text} for i, text in enumerate(TEXTS)])
    workshop.run(models=[model_of(workshop, task, max_length=MAX_LENGTH, combine=combine, **WINDOWS)])
    folder = checkpoint_of(workshop, task)
    expected = [
        None if text is None else by_hand(folder, task, text, stride=STRIDE, combine=combine)
        for text in TEXTS
    ]
    same(vectors(workshop.read(), task), expected)


@pytest.mark.parametrize("long_text", ["truncate", "window"])
@pytest.mark.parametrize("task", TASKS)
def test_a_whole_book_is_one_row(workshop: Workshop, task: str, long_text: str) -> None:
    """Of 19,000 tokens, beside short ones."""
    rows = ["night", LONG, "", LONG + "."]
    workshop.rows([{"id": i, "text": text} for i, text in enumerate(rows)])
    workshop.run(models=[model_of(workshop, task, max_length=64, long_text=long_text, stride=16)])
    stride, combine = (16, "mean") if long_text == "window" else (None, "first")
    expected = [
        by_hand(checkpoint_of(workshop, task), task, text, stride=stride, combine=combine, max_length=64)
        for text in rows
    ]
    same(vectors(workshop.read(), task), expected)


@pytest.mark.parametrize("task", TASKS)
def test_without_windows_the_beginning_counts(workshop: Workshop, task: str) -> None:
    """However long the text is; the tokens are those that went through the model."""
    workshop.rows([{"id": i, "text": text} for i, text in enumerate(TEXTS)])
    result = workshop.run(models=[model_of(workshop, task, max_length=MAX_LENGTH)])
    folder = checkpoint_of(workshop, task)
    expected = [
        None if text is None else by_hand(folder, task, text, stride=None, combine="first") for text in TEXTS
    ]
    same(vectors(workshop.read(), task), expected)
    ids = AutoTokenizer.from_pretrained(folder)(
        # Units of eight: the second "night" is in another one than the first.
        [text for text in TEXTS if text is not None],
        truncation=True,
        max_length=MAX_LENGTH,
    )["input_ids"]
    assert result.tokens == sum(map(len, ids))


@pytest.mark.parametrize("stride", [0, STRIDE, 9, 128])
def test_a_plan_counts_the_tokens_of_windows_as_a_run_does(workshop: Workshop, stride: int) -> None:
    """Those that neighbours share count each time; a stride of more than half a window is half of one."""
    workshop.rows([{"id": i, "text": text} for i, text in enumerate(TEXTS[:-1])])
    model = model_of(workshop, "embedding", max_length=MAX_LENGTH, long_text="window", stride=stride)
    planned = workshop.cli("plan", workshop.job(models=[model]), "--json")
    assert planned.exit_code == 0, planned.stderr
    result = workshop.run(models=[model])
    assert json.loads(planned.stdout)["tokens"] == result.tokens
    windows = AutoTokenizer.from_pretrained(workshop.embedder)(
        [text for text in TEXTS[:-1] if text is not None],
        truncation=True,
        max_length=MAX_LENGTH,
        stride=min(stride, (MAX_LENGTH - 2) // 2),
        return_overflowing_tokens=True,
    )["input_ids"]
    assert result.tokens == sum(map(len, windows))


@pytest.mark.parametrize("long_text", ["truncate", "window"])
@pytest.mark.parametrize("task", TASKS)
def test_equal_texts_are_computed_once_with_the_same_results(
    workshop: Workshop, task: str, long_text: str
) -> None:
    """The token counts say how often; nulls and texts that differ in a blank are no equals of theirs."""
    rows = [*texts(5), None, "night " * 40, *texts(3), "night " * 40, "Night " * 40, None, texts(1)[0] + " "]
    workshop.rows([{"id": i, "text": text} for i, text in enumerate(rows)])
    model = model_of(workshop, task, max_length=MAX_LENGTH, long_text=long_text, stride=STRIDE)
    once = workshop.run(models=[model], input__rows_per_unit=100)
    other = str(workshop.folder / "every")
    each = workshop.run(
        models=[model], input__rows_per_unit=100, input__deduplicate=False, output__path=other
    )
    same(vectors(workshop.read(), task), vectors(read_output(Path(other)), task))

    def tokens(counted: list[str]) -> int:
        options = {"stride": STRIDE, "return_overflowing_tokens": True} if long_text == "window" else {}
        found = AutoTokenizer.from_pretrained(checkpoint_of(workshop, task))(
            counted, truncation=True, max_length=MAX_LENGTH, **options
        )
        return sum(map(len, found["input_ids"]))

    present = [text for text in rows if text is not None]
    assert each.tokens == tokens(present)
    assert once.tokens == tokens(list(dict.fromkeys(present))) < each.tokens
    assert once.rows == each.rows == len(rows)


@pytest.mark.parametrize(("rows_per_unit", "tokens_per_batch"), [(1, 1), (3, 40), (100, 100_000)])
@pytest.mark.parametrize("task", TASKS)
def test_results_do_not_depend_on_units_and_batches(
    workshop: Workshop, task: str, rows_per_unit: int, tokens_per_batch: int
) -> None:
    """Windows of a text that are in different batches, equal texts that are in different units."""
    rows = [*texts(9), None, "night and water " * 20, *texts(4), ""]
    workshop.rows([{"id": i, "text": text} for i, text in enumerate(rows)])
    model = model_of(workshop, task, max_length=MAX_LENGTH, **WINDOWS)
    workshop.run(models=[model])
    usual = vectors(workshop.read(), task)
    other = workshop.folder / "other"
    workshop.run(
        models=[model | {"tokens_per_batch": tokens_per_batch}],
        input__rows_per_unit=rows_per_unit,
        output__path=str(other),
    )
    same(vectors(read_output(other), task), usual)


def test_models_with_one_tokenizer_share_its_tokens_and_cut_them_themselves(workshop: Workshop) -> None:
    """Two lengths and windows: one tokenization in all, and each result is that of the model alone."""
    workshop.rows([{"id": i, "text": text} for i, text in enumerate(TEXTS)])
    lengths = {"short": {"max_length": 5}, "long": {"max_length": 30}}
    made = lengths | {"wide": {"max_length": 9, "long_text": "window", "stride": 2}}
    for names, limit in ((list(lengths), 30), (list(made), None)):
        models = [model_of(workshop, "embedding", name=name, **made[name]) for name in names]
        config = JobConfig.from_dict(workshop.fields(models=models))
        (tokenizer,) = resolve(config).spec.tokenization.tokenizers
        assert tokenizer.limit == limit
        together = str(workshop.folder / f"together{len(names)}")
        workshop.run(models=models, output__path=together)
        table = read_output(Path(together))
        for name in names:
            alone = str(workshop.folder / f"{name}{len(names)}")
            workshop.run(models=[model_of(workshop, "embedding", **made[name])], output__path=alone)
            same(table[f"{name}_embedding"].to_pylist(), read_output(Path(alone))["embedding"].to_pylist())


@pytest.mark.parametrize("max_length", [15, 16])
@pytest.mark.parametrize("long_text", ["truncate", "window"])
def test_pairs_of_long_texts_are_cut_as_transformers_cuts_them(
    workshop: Workshop, long_text: str, max_length: int
) -> None:
    """Truncated: the longer first, also where both are too long. Windowed: the longer, if they do not fit."""
    first = ["water " * 50, "water " * 30, "water " * 9, "night", "", "good book " * 20, None]
    second = ["house, " * 20, "house, " * 40, "house " * 9, "good " * 60, "house", "night", "night"]
    if long_text == "window":
        second = ["house, ", "house, " * 2, "house " * 5, "good " * 60, "house", "night", "night"]
        # Pairs that fit, of which one side takes more than half, and differs at its end.
        for end in ("good", "bad"):
            first += ["night", "the house of " * 3 + end]
            second += ["the house of " * 3 + end, "night"]
    rows = zip(first, second, strict=True)
    workshop.rows([{"id": i, "text": one, "title": other} for i, (one, other) in enumerate(rows)])
    model = model_of(workshop, TASKS[1], max_length=max_length, long_text=long_text, stride=3, combine="max")
    workshop.run(models=[model], input__text_pair="title")
    reference = load_model(workshop.classifier, task=TASKS[1])
    expected: list[Any] = []
    for one, other in zip(first, second, strict=True):
        if one is None:
            expected.append(None)
            continue
        windows = AutoTokenizer.from_pretrained(workshop.classifier)(
            one,
            other,
            truncation=(
                "longest_first"
                if long_text == "truncate"
                else "only_first"
                if len(one) >= len(other)
                else "only_second"
            ),
            max_length=max_length,
            stride=3 if long_text == "window" else 0,
            return_overflowing_tokens=long_text == "window",
        )["input_ids"]
        sequences = windows if long_text == "window" else [windows]
        logits = reference(PackedTokens.from_sequences(sequences)).logits
        expected.append(logits.softmax(-1).max(dim=0).values.detach().numpy())
    found = vectors(workshop.read(), TASKS[1])
    same(found, expected)
    if long_text == "window":
        assert not np.allclose(found[-4], found[-2])
        assert not np.allclose(found[-3], found[-1])


@pytest.mark.parametrize(("second", "size"), [(None, 2), ("title", 3)], ids=["text", "pair"])
def test_a_length_without_room_for_text_is_refused(workshop: Workshop, second: str | None, size: int) -> None:
    """The special tokens alone would fill it; one more is enough."""
    workshop.rows([{"id": 1, "text": "a", "title": "b"}])
    for max_length in (3, 4):
        model = model_of(workshop, TASKS[1], max_length=max_length)
        result = workshop.cli("run", workshop.job(models=[model], input__text_pair=second))
        if max_length > size:
            assert result.exit_code == 0, result.stderr
            break
        assert result.exit_code == 2
        words = f"expected more than {size}, the number of special tokens around a text, got {max_length}"
        assert f"models[0].max_length: {words}" in result.stderr


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
