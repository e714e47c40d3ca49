"""The columns a task writes, as the public contract names them."""

import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, TextClassificationPipeline

from corpusmill.pipeline import tasks
from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.encode.encoder import Encoder
from corpusmill.pipeline.input import readers
from corpusmill.pipeline.input.units import Unit
from corpusmill.pipeline.output import sinks
from corpusmill.pipeline.spec import ModelSpec, Tokenization
from corpusmill.pipeline.tokenize.tokens import tokenize

Model = Callable[..., ModelSpec]
Checkpoints = Callable[..., Path]
TEXTS = ["the world of numbers", None, "a terrible film", "wonderful", ""]
LABELS = ("low", "middle", "high")
RANKED = pa.list_(pa.struct([("label", pa.string()), ("score", pa.float32())]))


@pytest.mark.parametrize(
    ("folder", "table", "ending"),
    [
        (readers, readers.READERS, "Reader"),
        (sinks, sinks.SINKS, "Sink"),
        (tasks, tasks.TASKS, "Task"),
    ],
    ids=["readers", "sinks", "tasks"],
)
def test_every_file_of_a_folder_is_in_its_table(
    folder: ModuleType, table: dict[str, Any], ending: str
) -> None:
    """A class that was written and not entered in the table would never run."""
    names = [info.name for info in pkgutil.iter_modules(getattr(folder, "__path__", []))]
    modules = [folder, *(importlib.import_module(f"{folder.__name__}.{name}") for name in names)]
    found = {
        value
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, type) and name.endswith(ending) and value.__module__ == module.__name__
    } - {readers.Reader, sinks.Sink, tasks.task.Task}
    entered = [value if isinstance(value, type) else type(value) for value in table.values()]
    assert set(entered) == found
    assert len(entered) == len(found)


def columns(spec: ModelSpec, texts: list[str | None] = TEXTS) -> pa.Table:
    block = UnitBlock(Unit("u", "/in", 0, 0), pa.table({}), pa.table({"text": pa.array(texts, pa.string())}))
    return Encoder(spec).encode(tokenize(block, Tokenization((spec.tokenizer,), True))).columns


def reference(folder: Path, texts: list[str | None], **options: Any) -> list[Any]:
    """What transformers' pipeline says of each text alone."""
    pipeline = TextClassificationPipeline(
        model=AutoModelForSequenceClassification.from_pretrained(folder),
        tokenizer=AutoTokenizer.from_pretrained(folder),
        device=torch.device("cpu"),
    )
    return [None if text is None else pipeline([text], **options)[0] for text in texts]


def test_embeddings_are_fixed_size_lists(checkpoint: Checkpoints, model: Model) -> None:
    """float32, of the checkpoint's dimension; a row without text is null and holds no NaN underneath."""
    table = columns(model(checkpoint("embedding"), "embedding"))
    assert table.schema == pa.schema([("embedding", pa.list_(pa.float32(), 32))])
    assert [row is None for row in table["embedding"].to_pylist()] == [text is None for text in TEXTS]
    assert np.isfinite(np.asarray(table["embedding"].combine_chunks().values)).all()


def test_sentence_embeddings_have_the_projections_dimension(checkpoint: Checkpoints, model: Model) -> None:
    """And are normalized, as the checkpoint says."""
    table = columns(model(checkpoint("embedding", sentence_transformers=True, projection=8), "embedding"))
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), 8)
    norms = [np.linalg.norm(row) for row in table["embedding"].to_pylist() if row is not None]
    np.testing.assert_allclose(norms, 1.0, atol=1e-5)


@pytest.mark.parametrize("architecture", ["bert", "distilbert"])
def test_the_best_label_and_its_score(checkpoint: Checkpoints, model: Model, architecture: str) -> None:
    """As the reference computes them; the dictionary holds all labels, so that files of a job agree."""
    folder = checkpoint("text-classification", architecture, labels=LABELS)
    table = columns(model(folder, "text-classification"))
    assert table.schema == pa.schema(
        [("label", pa.dictionary(pa.int32(), pa.string())), ("score", pa.float32())]
    )
    assert table["label"].combine_chunks().dictionary.to_pylist() == list(LABELS)
    expected = reference(folder, TEXTS)
    assert table["label"].to_pylist() == [row and row["label"] for row in expected]
    same_scores(table["score"].to_pylist(), [row and row["score"] for row in expected])


@pytest.mark.parametrize("top_k", [2, 3, 99, None])
def test_several_labels_are_ranked(checkpoint: Checkpoints, model: Model, top_k: int | None) -> None:
    """Best first, at most as many as there are; a null row is null, not an empty list."""
    folder = checkpoint("text-classification", labels=LABELS)
    table = columns(model(folder, "text-classification", top_k=top_k))
    assert table.schema == pa.schema([("labels", RANKED)])
    same_labels(table["labels"].to_pylist(), reference(folder, TEXTS, top_k=top_k))


def test_a_multi_label_checkpoint_scores_each_label_by_itself(checkpoint: Checkpoints, model: Model) -> None:
    """A sigmoid each, all labels, whatever they sum to."""
    folder = checkpoint("text-classification", labels=LABELS, problem_type="multi_label_classification")
    table = columns(model(folder, "text-classification"))
    assert table.schema == pa.schema([("labels", RANKED)])
    same_labels(table["labels"].to_pylist(), reference(folder, TEXTS, top_k=None))


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 1.0])
def test_a_threshold_leaves_out_what_is_below(
    checkpoint: Checkpoints, model: Model, threshold: float
) -> None:
    """An empty list where nothing reaches it."""
    folder = checkpoint("text-classification", labels=LABELS, problem_type="multi_label_classification")
    everything = columns(model(folder, "text-classification"))["labels"].to_pylist()
    found = columns(model(folder, "text-classification", threshold=threshold))["labels"].to_pylist()
    assert found == [row and [item for item in row if item["score"] >= threshold] for row in everything]


def test_multi_label_with_top_1_is_still_a_list(checkpoint: Checkpoints, model: Model) -> None:
    """The type of a column does not hang on a number."""
    folder = checkpoint("text-classification", labels=LABELS, problem_type="multi_label_classification")
    found = columns(model(folder, "text-classification", top_k=1))
    assert found.schema == pa.schema([("labels", RANKED)])
    assert {len(row) for row in found["labels"].to_pylist() if row is not None} == {1}


def test_regression_writes_the_value(checkpoint: Checkpoints, model: Model) -> None:
    """The logit itself, with no squashing."""
    folder = checkpoint("text-classification", labels=("LABEL_0",), problem_type="regression")
    table = columns(model(folder, "text-classification"))
    assert table.schema == pa.schema([("value", pa.float32())])
    same_scores(table["value"].to_pylist(), [row and row["score"] for row in reference(folder, TEXTS)])


def test_regression_of_several_values_writes_them_all(checkpoint: Checkpoints, model: Model) -> None:
    """In the order of the checkpoint's labels."""
    folder = checkpoint("text-classification", labels=LABELS, problem_type="regression")
    table = columns(model(folder, "text-classification"))
    assert table.schema == pa.schema([("values", pa.list_(pa.float32()))])
    assert [row and len(row) for row in table["values"].to_pylist()] == [3, None, 3, 3, 3]


def test_a_single_label_is_scored_by_a_sigmoid(checkpoint: Checkpoints, model: Model) -> None:
    """A reranker's one logit: its softmax would be 1 for every pair."""
    folder = checkpoint("text-classification", labels=("relevant",))
    table = columns(model(folder, "text-classification"))
    expected = reference(folder, TEXTS)
    same_scores(table["score"].to_pylist(), [row and row["score"] for row in expected])
    assert len(set(table["score"].to_pylist())) > 2


def same_scores(found: list[Any], expected: list[Any]) -> None:
    assert [value is None for value in found] == [value is None for value in expected]
    np.testing.assert_allclose(
        [v for v in found if v is not None], [v for v in expected if v is not None], atol=1e-5
    )


def same_labels(found: list[Any], expected: list[Any]) -> None:
    assert [row and [item["label"] for item in row] for row in found] == [
        row and [item["label"] for item in row] for row in expected
    ]
    same_scores(
        [item["score"] for row in found if row for item in row],
        [item["score"] for row in expected if row for item in row],
    )
