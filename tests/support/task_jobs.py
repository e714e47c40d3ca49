"""What each task reads and writes: rows, options, columns, and a model for it."""

from pathlib import Path
from typing import Any

import pyarrow as pa
from support.tiny_checkpoints import write_checkpoint

from corpusmill.pipeline.tasks import TASKS

NLI = ("entailment", "neutral", "contradiction")
RANKED = pa.list_(pa.struct([("label", pa.string()), ("score", pa.float32())]))
SPAN = [("start", pa.int32()), ("end", pa.int32())]
COLUMNS: dict[str, dict[str, pa.DataType]] = {
    "embedding": {"embedding": pa.list_(pa.float32(), 32)},
    "token-embedding": {
        "token_embeddings": pa.list_(pa.list_(pa.float32(), 32)),
        "token_offsets": pa.list_(pa.struct(SPAN)),
    },
    "sparse-embedding": {"sparse": pa.list_(pa.struct([("token_id", pa.int32()), ("weight", pa.float32())]))},
    "text-classification": {"label": pa.dictionary(pa.int32(), pa.string()), "score": pa.float32()},
    "reranking": {"score": pa.float32()},
    "zero-shot-classification": {"labels": RANKED},
    "token-classification": {
        "spans": pa.list_(
            pa.struct([*SPAN, ("label", pa.string()), ("score", pa.float32()), ("text", pa.string())])
        )
    },
    "question-answering": {
        "answer": pa.struct([("text", pa.string()), *SPAN, ("score", pa.float32())]),
    },
    "fill-mask": {
        "predictions": pa.list_(
            pa.list_(pa.struct([("token", pa.string()), ("token_id", pa.int32()), ("score", pa.float32())]))
        )
    },
    "multiple-choice": {"choice": pa.int32(), "scores": pa.list_(pa.float32())},
    "next-sentence-prediction": {"is_next": pa.bool_(), "score": pa.float32()},
}
MADE_FOR = {
    "token-embedding": "base",
    "sparse-embedding": "fill-mask",
    "reranking": "text-classification",
    "zero-shot-classification": "text-classification",
}
LABELS = {"zero-shot-classification": NLI, "reranking": ("LABEL_0",)}
OPTIONS: dict[str, dict[str, Any]] = {"zero-shot-classification": {"candidate_labels": ["house", "water"]}}
SINGLE = [task for task in TASKS if task != "multiple-choice"]
"""Tasks whose second column, if they have one, holds texts."""


def rows(task: str, count: int = 20) -> list[dict[str, Any]]:
    """Rows with what the task reads, some of it missing."""
    second: list[Any] = [None if i % 7 == 3 else f"it runs {i}" for i in range(count)]
    if task == "multiple-choice":
        second = [[f"choice {j}" for j in range(i % 4)] for i in range(count)]
    return [
        {"id": i, "text": None if i % 9 == 4 else f"the [MASK] watch {i % 5} house", "other": second[i]}
        for i in range(count)
    ]


def reads_pairs(task: str) -> bool:
    return task in ("next-sentence-prediction", "multiple-choice", "question-answering", "reranking")


def model_of(task: str, folder: Path, architecture: str = "bert", **options: Any) -> dict[str, Any]:
    """A model of a job for this task, of a checkpoint in `folder` that is written if it is not there.

    In float32: `auto` may come out differently from test to test.
    """
    if not folder.exists():
        labels = {"labels": LABELS[task]} if task in LABELS else {}
        write_checkpoint(folder, architecture, MADE_FOR.get(task, task), **labels)
    named = {"checkpoint": str(folder), "task": task, "dtype": "float32"}
    return {**named, **OPTIONS.get(task, {}), **options}


def same(found: Any, expected: Any) -> bool:
    """Equal but for the rounding of numbers, at any depth: a batch's company changes the last bits."""
    if isinstance(expected, float) and isinstance(found, float):
        return abs(found - expected) < 1e-4
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[k], expected[k]) for k in expected)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    return bool(found == expected)
