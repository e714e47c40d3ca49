"""How many rows were truncated, of each model: counted as the tokenizer alone would tell."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.task_jobs import LABELS, MADE_FOR, OPTIONS, reads_pairs

from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.encode.encoder import Encoder
from corpusmill.pipeline.input.units import Unit
from corpusmill.pipeline.spec import ModelSpec, Tokenization
from corpusmill.pipeline.tasks import TASKS
from corpusmill.pipeline.tokenize.tokenizer import load_tokenizer
from corpusmill.pipeline.tokenize.tokens import tokenize

Model = Callable[..., ModelSpec]
Checkpoints = Callable[..., Path]
LIMIT = 16
WORD = "house "
TEXTS = [None, "", *(WORD * count for count in (1, 5, 8, 9, 11, 12, 13, 14, 15, 16, 17, 30, 200)), WORD * 30]
"""The last text is there twice: rows are counted, not distinct texts."""
SECOND = ["it runs" if i % 2 else f"{WORD * 14}" for i in range(len(TEXTS))]
PAIRS: dict[str, list[list[str]]] = {
    "text-classification": [[second] for second in SECOND],
    "reranking": [[second] for second in SECOND],
    "next-sentence-prediction": [[second] for second in SECOND],
    "question-answering": [[second] for second in SECOND],
    "multiple-choice": [["it", second] for second in SECOND],
    "zero-shot-classification": [[f"This example is {label}." for label in ("house", "water")]] * len(TEXTS),
}
"""The texts beside each row's text."""


def stats_of(spec: ModelSpec, task: str) -> tuple[int, int]:
    inputs = {"text": pa.array(TEXTS, pa.large_string())}
    if reads_pairs(task) or task == "text-classification":
        lists = task == "multiple-choice"
        given = PAIRS[task] if lists else SECOND
        inputs["text_pair"] = pa.array(given, pa.list_(pa.large_string()) if lists else pa.large_string())
    block = UnitBlock(Unit("u", "/in", 0, 0), pa.table({}), pa.table(inputs))
    encoder, tokens = Encoder(spec), tokenize(block, Tokenization((spec.tokenizer,), True))
    stats = encoder.encode(tokens).stats
    assert encoder.prepare(tokens).truncated_rows == stats.truncated_rows
    return stats.rows, stats.truncated_rows


@pytest.mark.parametrize("task", TASKS)
def test_a_row_is_truncated_if_its_tokens_do_not_fit(
    checkpoint: Checkpoints, model: Model, task: str
) -> None:
    """One of its pairs is enough; a row without text counts nowhere."""
    labels = {"labels": LABELS[task]} if task in LABELS else {}
    folder = checkpoint(MADE_FOR.get(task, task), **labels)
    tokenizer = load_tokenizer(str(folder))
    expected = 0
    for row, text in enumerate(TEXTS):
        beside: list[Any] = PAIRS[task][row] if task in PAIRS else [None]
        expected += text is not None and any(
            len(tokenizer.encode(text, second).ids) > LIMIT for second in beside
        )
    pairs = reads_pairs(task) or task == "text-classification"
    spec = model(folder, task, max_length=LIMIT, pairs=pairs, **OPTIONS.get(task, {}))
    assert stats_of(spec, task) == (len(TEXTS) - 1, expected)
    assert expected


@pytest.mark.parametrize(("task", "cut"), [("embedding", 0), ("token-classification", 0), ("fill-mask", 0)])
def test_windows_do_not_count_as_truncated(
    checkpoint: Checkpoints, model: Model, task: str, cut: int
) -> None:
    """They hold the whole text."""
    spec = model(checkpoint(task), task, max_length=LIMIT, stride=4)
    assert stats_of(spec, task) == (len(TEXTS) - 1, cut)


@pytest.mark.parametrize(("task", "room"), [("text-classification", 13), ("question-answering", 13)])
def test_beside_windows_the_other_text_may_be_truncated(
    checkpoint: Checkpoints, model: Model, task: str, room: int
) -> None:
    """If it leaves the windows too little room; then the row counts."""
    spec = model(checkpoint(task), task, max_length=LIMIT, stride=4, pairs=True)
    expected = 0
    for text, second in zip(TEXTS, SECOND, strict=True):
        if text is not None:
            long, short = len(text) // len(WORD), len(second.split())
            if task == "text-classification":
                long, short = max(long, short), min(long, short)
            least = max(room // 2 if short > long else room // 4, 1)
            expected += short > room - min(long, least)
    assert stats_of(spec, task) == (len(TEXTS) - 1, expected)
    assert 0 < expected < len(TEXTS) - 1
