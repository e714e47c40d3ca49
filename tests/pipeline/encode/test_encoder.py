"""Encoding a unit: each row's result is its own, in its place, whatever shares its batch."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.checkpoints.find import digest
from corpusmill.pipeline.encode.batches import TokenBatch
from corpusmill.pipeline.encode.encoder import Encoder
from corpusmill.pipeline.encode.overlap import InOrderExecutor
from corpusmill.pipeline.input.units import Unit
from corpusmill.pipeline.spec import ModelSpec, PoolSpec, Tokenization, TokenizerSpec
from corpusmill.pipeline.tasks.task import Values
from corpusmill.pipeline.tokenize.tokenizer import load_tokenizer, tokenizer_digest
from corpusmill.pipeline.tokenize.tokens import tokenize

Model = Callable[..., ModelSpec]
Checkpoints = Callable[..., Path]
WORDS = ["the", "world", "of", "numbers", "and", "number", "of", "the", "other", "word"]
TEXTS = [" ".join(WORDS[i % 7 : i % 7 + i % 5 + 1]) if i % 6 != 4 else None for i in range(20)]


def encoded(spec: ModelSpec, texts: list[str | None], pairs: list[str | None] | None = None) -> Any:
    columns = {"text": pa.array(texts, pa.string())} | (
        {} if pairs is None else {"text_pair": pa.array(pairs, pa.string())}
    )
    block = UnitBlock(Unit("u", "/in", 0, 0), pa.table({}), pa.table(columns))
    return Encoder(spec).encode(tokenize(block, Tokenization((spec.tokenizer,), True)))


def vectors(table: pa.Table) -> np.ndarray[Any, Any]:
    return np.array([row for row in table["embedding"].to_pylist() if row is not None])


@pytest.mark.parametrize("tokens_per_batch", [1, 7, 16, 10_000])
def test_results_do_not_depend_on_the_batch(
    checkpoint: Checkpoints, model: Model, tokens_per_batch: int
) -> None:
    """Each row as if it were alone, to rounding; nulls in their places; tokens and batches counted."""
    folder = checkpoint("embedding")
    found = encoded(model(folder, "embedding", tokens_per_batch=tokens_per_batch), TEXTS)
    alone = [encoded(model(folder, "embedding"), [text]).columns["embedding"][0].as_py() for text in TEXTS]
    assert [row is None for row in found.columns["embedding"].to_pylist()] == [text is None for text in TEXTS]
    np.testing.assert_allclose(
        vectors(found.columns), np.array([row for row in alone if row is not None]), atol=2e-5
    )
    tokenizer = load_tokenizer(str(folder))
    lengths = [len(tokenizer.encode(text).ids) for text in TEXTS if text is not None]
    assert found.stats.tokens == sum(lengths)
    assert found.stats.batches == {1: len(lengths), 10_000: 1}.get(tokens_per_batch, found.stats.batches)


@settings(max_examples=25, derandomize=True, deadline=None)
@given(order=st.permutations(range(8)))
def test_results_follow_their_rows(checkpoint: Checkpoints, order: list[int]) -> None:
    """Any order of a unit's rows gives the same results in that order."""
    encoder, spec = one_encoder(checkpoint("embedding"))
    texts = TEXTS[:8]

    def run(rows: list[str | None]) -> list[Any]:
        block = UnitBlock(
            Unit("u", "/in", 0, 0), pa.table({}), pa.table({"text": pa.array(rows, pa.string())})
        )
        return (
            encoder.encode(tokenize(block, Tokenization((spec.tokenizer,), True)))
            .columns["embedding"]
            .to_pylist()
        )

    plain, shuffled = run(texts), run([texts[i] for i in order])
    for place, i in enumerate(order):
        assert (plain[i] is None) == (shuffled[place] is None)
        if plain[i] is not None:
            np.testing.assert_allclose(plain[i], shuffled[place], atol=2e-5)


ENCODERS: dict[Path, tuple[Encoder, ModelSpec]] = {}


def one_encoder(folder: Path) -> tuple[Encoder, ModelSpec]:
    if folder not in ENCODERS:
        spec = ModelSpec(
            "m",
            "",
            str(folder),
            str(folder),
            digest(folder),
            "embedding",
            "float32",
            "cpu",
            16,
            None,
            24,
            TokenizerSpec(str(folder), tokenizer_digest(str(folder)), str(folder), limit=16),
            PoolSpec(1, 1),
        )
        ENCODERS[folder] = Encoder(spec), spec
    return ENCODERS[folder]


def test_the_same_unit_gives_the_same_bytes(checkpoint: Checkpoints, model: Model) -> None:
    """Two attempts, two workers."""
    spec = model(checkpoint("embedding"), "embedding")
    assert encoded(spec, TEXTS).columns.equals(encoded(spec, TEXTS).columns)


def test_batches_under_way_at_once_give_the_same_bytes(checkpoint: Checkpoints, model: Model) -> None:
    """As on a GPU: two threads, and results in the order of the batches; refused rows are the same ones."""
    spec = model(checkpoint("embedding"), "embedding", tokens_per_batch=16)
    block = UnitBlock(
        Unit("u", "/in", 0, 0), pa.table({}), pa.table({"text": pa.array(TEXTS * 3, pa.string())})
    )
    block = tokenize(block, Tokenization((spec.tokenizer,), False))
    encoder = Encoder(spec)
    values = encoder.values

    def picky(batch: TokenBatch) -> Values:
        if 7 in batch.rows:
            raise MemoryError
        return values(batch)

    encoder.values = picky  # type: ignore[method-assign]
    wanted = encoder.encode(block)
    encoder._executor = InOrderExecutor(2, lambda: None)
    for _ in range(3):
        found = encoder.encode(block)
        assert found.columns.equals(wanted.columns)
        assert (found.stats.refused, found.stats.batches) == (wanted.stats.refused, wanted.stats.batches)
    assert len(wanted.stats.refused) == 1


@pytest.mark.parametrize("task", ["embedding", "text-classification"])
@pytest.mark.parametrize("texts", [[], [None], [None, None, None]], ids=["no row", "one null", "nulls"])
def test_units_without_text_keep_rows_and_types(
    checkpoint: Checkpoints, model: Model, task: str, texts: list[None]
) -> None:
    """The model is not asked; its columns are there, null."""
    spec = model(checkpoint(task), task)
    found, full = encoded(spec, texts), encoded(spec, ["the world"])
    assert found.columns.schema == full.columns.schema
    assert found.columns.num_rows == len(texts)
    assert all(column.null_count == len(texts) for column in found.columns.columns)
    assert (found.stats.tokens, found.stats.batches) == (0, 0)


def test_a_text_without_any_token_gives_null(checkpoint: Checkpoints, model: Model, tmp_path: Path) -> None:
    """Where a tokenizer adds no special tokens, an empty text leaves the model nothing."""
    folder = shutil.copytree(checkpoint("embedding"), tmp_path / "bare")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.post_processor = None  # type: ignore[assignment]
    tokenizer.save(str(folder / "tokenizer.json"))
    # A BERT class would have its special tokens all the same.
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    found = encoded(model(folder, "embedding"), ["", "the", None]).columns["embedding"].to_pylist()
    assert [row is None for row in found] == [True, False, True]


def test_column_names_carry_the_models_prefix(checkpoint: Checkpoints, model: Model) -> None:
    """So that two models can share an output."""
    spec = model(checkpoint("text-classification"), "text-classification", prefix="mood_")
    assert encoded(spec, ["the"]).columns.column_names == ["mood_label", "mood_score"]


def test_pairs_reach_the_model_with_their_types(checkpoint: Checkpoints, model: Model) -> None:
    """The second text is told apart from the first: swapping them changes the result."""
    spec = model(checkpoint("text-classification"), "text-classification", pairs=True)
    one = encoded(spec, ["the world", None], ["numbers", "numbers"]).columns
    other = encoded(spec, ["numbers", None], ["the world", "the"]).columns
    assert one["score"][0] != other["score"][0]
    assert one["score"].null_count == other["score"].null_count == 1
