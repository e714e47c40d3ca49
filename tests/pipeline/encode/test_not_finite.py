"""A result that is not finite is a reject of its row; the other rows of its batch keep their results."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.task_jobs import LABELS, MADE_FOR, NLI, OPTIONS, reads_pairs
from support.tiny_checkpoints import VOCABULARY, write_checkpoint

from corpusmill.models.cpu.int8 import has_int8_products
from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.encode.encoded import Encoded
from corpusmill.pipeline.encode.encoder import Encoder
from corpusmill.pipeline.encode.halving import NOT_FINITE
from corpusmill.pipeline.input.units import Unit
from corpusmill.pipeline.spec import ModelSpec, Tokenization
from corpusmill.pipeline.tasks import TASKS
from corpusmill.pipeline.tasks.columns import finite_rows
from corpusmill.pipeline.tasks.task import Values
from corpusmill.pipeline.tokenize.tokens import tokenize

Model = Callable[..., ModelSpec]
POISON = "horse"
"""The word whose embedding is not finite."""
TIED = ("fill-mask", "sparse-embedding")
"""Tasks whose head multiplies with all word embeddings: there a position is at fault, not a word."""
LATE = 14
TEXTS = [
    "the old house",
    f"the {POISON} and the [MASK]",
    None,
    "they watch the [MASK] all night",
    f"water {POISON}",
    "",
    "good",
    " ".join(["the [MASK] runs"] * 9 + [POISON]),
]
"""The last text is longer than a sequence, and only its last window has the word."""
POISONED = [1, 4]
WINDOWED = [1, 4, 7]
HALF = {
    "embedding": ("float32", "float16", "int8", "uint8", "binary", "ubinary"),
    "token-embedding": ("float16",),
}
CASES = [
    *((task, {}) for task in TASKS),
    *((task, {"output_dtype": dtype}) for task, dtypes in HALF.items() for dtype in dtypes),
    *(("text-classification", {"labels": labels}) for labels in (NLI, ("value",))),
    ("text-classification", {"top_k": None, "threshold": 0.2}),
    ("zero-shot-classification", {"multi_label": True}),
    ("question-answering", {"top_k": 3, "handle_impossible_answer": True}),
    ("question-answering", {"questions": ["the house", "the night"]}),
]


def spoiled(folder: Path, name: str, row: int, value: float = float("nan")) -> Path:
    """Put a value into one row of a weight."""
    tensors = load_file(folder / "model.safetensors")
    (found,) = (key for key in tensors if key.endswith(name))
    tensors[found][row, 3] = value
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


def pair_of(task: str, rows: int) -> list[Any]:
    return [["it runs", "a good book"]] * rows if task == "multiple-choice" else ["it runs"] * rows


def encode(spec: ModelSpec, task: str, options: dict[str, Any], texts: list[str | None]) -> Encoded:
    inputs = {"text": pa.array(texts, pa.large_string())}
    if reads_pairs(task) and "questions" not in options:
        kind = pa.list_(pa.large_string()) if task == "multiple-choice" else pa.large_string()
        inputs["text_pair"] = pa.array(pair_of(task, len(texts)), kind)
    block = UnitBlock(Unit("u", "/in", 0, 0), pa.table({}), pa.table(inputs))
    return Encoder(spec).encode(tokenize(block, Tokenization((spec.tokenizer,), True)))


@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=["nan", "inf"])
@pytest.mark.parametrize(
    ("task", "given"), CASES, ids=lambda x: x if isinstance(x, str) else "-".join(map(str, x))
)
def test_only_the_rows_at_fault_are_refused(
    tmp_path: Path, model: Model, task: str, given: dict[str, Any], value: float
) -> None:
    """All in one batch; with windows, one window at fault refuses its whole text."""
    options = dict(given)
    labels = LABELS.get(task) or options.pop("labels", ("neg", "pos"))
    if options.get("output_dtype") in ("int8", "uint8"):
        options["calibration"] = [-1.0, 1.0]
    options |= OPTIONS.get(task, {})
    windows = TASKS[task].needs.windows if hasattr(TASKS[task], "needs") else True
    results = []
    for name in ("whole", "broken"):
        folder = write_checkpoint(tmp_path / name, "bert", MADE_FOR.get(task, task), labels=labels, layers=1)
        if name == "broken" and task in TIED:
            spoiled(folder, "position_embeddings.weight", LATE, value)
        elif name == "broken":
            spoiled(folder, "word_embeddings.weight", VOCABULARY.index(POISON), value)
        spec = model(
            folder,
            task,
            tokens_per_batch=10_000,
            max_length=24,
            stride=4 if windows else None,
            pairs=reads_pairs(task) and "questions" not in options,
            **options,
        )
        results.append(encode(spec, task, options, TEXTS))
    whole, broken = results
    expected = [7] if task in TIED else WINDOWED if windows else POISONED
    assert not whole.stats.refused
    assert broken.stats.refused == dict.fromkeys(expected, NOT_FINITE)
    assert broken.stats.batches == whole.stats.batches == 1
    for name, found in zip(whole.columns.column_names, broken.columns.columns, strict=True):
        for row, (there, own) in enumerate(
            zip(whole.columns[name].to_pylist(), found.to_pylist(), strict=True)
        ):
            assert own == (None if row in expected else there), (name, row)


DTYPES = ["float32", "bfloat16", *(["int8"] if has_int8_products() else [])]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("architecture", ["bert", "distilbert", "squeezebert", "convbert", "mobilebert"])
def test_a_row_that_is_not_finite_leaves_its_batch_alone(
    tmp_path: Path, model: Model, architecture: str, dtype: str
) -> None:
    """No kernel lets NaN pass into a neighbour, in many lengths; and none swallows it."""
    if (architecture, dtype) == ("mobilebert", "int8"):
        pytest.skip("refused")
    texts: list[str | None] = [
        f"{'the water runs ' * (i % 7)}{POISON if i % 3 == 1 else 'house'} {i}" for i in range(40)
    ]
    results = []
    for name in ("whole", "broken"):
        folder = write_checkpoint(tmp_path / name, architecture, "embedding", width=64)
        if name == "broken":
            spoiled(folder, "word_embeddings.weight", VOCABULARY.index(POISON))
        spec = replace(model(folder, "embedding", tokens_per_batch=10_000, max_length=64), dtype=dtype)
        results.append(encode(spec, "embedding", {}, texts))
    whole, broken = results
    assert sorted(broken.stats.refused) == [i for i in range(40) if i % 3 == 1]
    good = np.array([i for i in range(40) if i % 3 != 1])
    assert broken.columns.take(good).equals(whole.columns.take(good))


def test_a_model_that_gives_nothing_else_refuses_all_rows(tmp_path: Path, model: Model) -> None:
    """No row is left, however many there are: every column is null, and nothing is written."""
    folder = spoiled(
        write_checkpoint(tmp_path, "bert", "embedding", layers=1), "position_embeddings.weight", 1
    )
    texts: list[str | None] = [f"the house {i}" for i in range(40)]
    found = encode(model(folder, "embedding"), "embedding", {}, texts)
    assert found.stats.refused == dict.fromkeys(range(40), NOT_FINITE)
    assert found.columns["embedding"].null_count == 40


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("task", ["embedding", "token-embedding"])
def test_a_number_beyond_float16_is_no_result(tmp_path: Path, model: Model, task: str, dtype: str) -> None:
    """It would be written as infinity; in float32 it is written as it is."""
    folder = write_checkpoint(tmp_path, "bert", "embedding", layers=1)
    spoiled(folder, "word_embeddings.weight", VOCABULARY.index(POISON), 1e6)
    options = {"output_dtype": dtype, "layer": 0}
    tensors = load_file(folder / "model.safetensors")
    for key in tensors:
        if key.endswith("embeddings.LayerNorm.weight"):
            tensors[key] *= 1e5
    tensors["embeddings.LayerNorm.bias"] *= 0
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    found = encode(model(folder, task, **options), task, options, ["the house", None, f"the {POISON}"])
    assert found.stats.refused == ({} if dtype == "float32" else {0: NOT_FINITE, 2: NOT_FINITE})


INF, NAN = np.inf, np.nan


@pytest.mark.parametrize(
    ("arrays", "counts", "logits", "finite"),
    [
        ([[1.0, 2.0]], None, False, None),
        ([[1.0, NAN, -INF]], None, False, [True, False, False]),
        ([[1.0, NAN, -INF, INF]], None, True, [True, False, False, False]),
        ([[[1.0, -INF], [-INF, -INF], [NAN, -INF], [INF, 1.0]]], None, True, [True, False, False, False]),
        (
            [[1.0, -INF, 2.0, -INF, NAN, 3.0]],
            [2, 0, 1, 1, 1, 1],
            True,
            [True, False, True, False, False, True],
        ),
        ([[1.0, 2.0, 3.0], [NAN, 1.0, 2.0]], [1, 2], False, [False, True]),
        ([[1, 2], [1.0, INF]], None, False, [True, False]),
        ([np.zeros((0, 5))], [0, 0], False, None),
    ],
)
def test_minus_infinity_is_a_logit_and_no_number(
    arrays: list[Any], counts: list[int] | None, logits: bool, finite: list[bool] | None
) -> None:
    """A sequence needs one logit that is finite; every other value must be."""
    values = Values(tuple(map(np.array, arrays)), None if counts is None else np.array(counts), logits=logits)
    assert (None if values.finite is None else values.finite.tolist()) == finite


@pytest.mark.parametrize(
    ("task", "bias"),
    [
        ("text-classification", "classifier.bias"),
        ("zero-shot-classification", "classifier.bias"),
        ("token-classification", "classifier.bias"),
        ("fill-mask", "cls.predictions.bias"),
        ("sparse-embedding", "cls.predictions.bias"),
    ],
)
def test_a_label_or_word_that_is_ruled_out_refuses_no_row(
    tmp_path: Path, model: Model, task: str, bias: str
) -> None:
    """A bias of minus infinity gives probability 0."""
    folder = write_checkpoint(tmp_path, "bert", MADE_FOR.get(task, task), labels=NLI, layers=1)
    tensors = load_file(folder / "model.safetensors")
    tensors[bias][2] = -torch.inf
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    spec = model(folder, task, max_length=24, **OPTIONS.get(task, {}))
    assert not encode(spec, task, {}, ["the [MASK]", None, "a house"]).stats.refused


def test_numbers_are_looked_for_at_any_depth() -> None:
    """In lists of structs of vectors, past nulls and slices."""
    vector = pa.list_(pa.float16(), 2)
    kind = pa.list_(pa.struct([("name", pa.string()), ("vector", vector)]))
    half = np.float16
    rows = pa.array(
        [
            [{"name": "a", "vector": [half(INF), half(1)]}],
            None,
            [],
            [{"name": "b", "vector": None}, {"name": "c", "vector": [half(1), half(2)]}, None],
            [{"name": None, "vector": [half(1), half(2)]}, {"name": "d", "vector": [half(1), half(NAN)]}],
        ],
        kind,
    )
    assert finite_rows([rows]).tolist() == [False, True, True, True, False]
    assert finite_rows([rows.slice(1, 3), pa.array([1.0, None, -INF])]).tolist() == [True, True, False]
