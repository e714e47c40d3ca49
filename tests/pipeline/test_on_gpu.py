"""A worker on a GPU: its memory model, batches that do not fit, and copies beside computing."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.encode.batch_size import fit_batch_size, free_bytes, peak_bytes, probe_batch
from corpusmill.pipeline.encode.encoder import Encoder
from corpusmill.pipeline.input.units import Unit
from corpusmill.pipeline.spec import ModelSpec, Tokenization
from corpusmill.pipeline.tokenize.tokens import tokenize

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device"),
]
Checkpoints = Callable[..., Path]
Specs = Callable[..., ModelSpec]
TEXTS = [" ".join(["the", "world", "of", "numbers"][: 1 + n % 4] * (1 + n % 3)) for n in range(300)]


@pytest.fixture(autouse=True)
def _memory_given_back() -> Iterator[None]:
    """A limit that a test sets ends with it."""
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def block_of(spec: ModelSpec, texts: list[str]) -> UnitBlock:
    block = UnitBlock(Unit("u", "/in", 0, 0), pa.table({}), pa.table({"text": pa.array(texts, pa.string())}))
    return tokenize(block, Tokenization((spec.tokenizer,), False))


def vectors(found: Any) -> np.ndarray[Any, Any]:
    return np.array(found.columns["embedding"].to_pylist())


def on_cuda(spec: ModelSpec, **changes: Any) -> ModelSpec:
    return replace(spec, device="cuda", pool=replace(spec.pool, gpus=1.0), **changes)


@pytest.mark.parametrize("tokens_per_batch", [64, 1000])
def test_a_unit_gives_what_the_cpu_gives(
    checkpoint: Checkpoints, model: Specs, tokens_per_batch: int
) -> None:
    """In many batches, two of them under way at a time; the same bytes each time."""
    spec = model(checkpoint("embedding"), "embedding", tokens_per_batch=tokens_per_batch)
    block = block_of(spec, TEXTS)
    encoder = Encoder(on_cuda(spec))
    first, again = encoder.encode(block), encoder.encode(block)
    assert first.columns.equals(again.columns)
    np.testing.assert_allclose(vectors(first), vectors(Encoder(spec).encode(block)), atol=1e-4)


def test_the_memory_model_foretells_a_batch() -> None:
    """Probes of a layer that keeps what it is given in one more tensor: a line, and one that is met."""

    def run(packed: Any) -> None:
        torch.zeros(len(packed.input_ids), 1000, device="cuda").add_(1)

    for tokens in (2048, 4096):
        assert peak_bytes(run, probe_batch(tokens, 128)) == pytest.approx(4000 * tokens, rel=0.1)


def test_less_memory_than_wanted_is_reported() -> None:
    """A batch of 65,536 tokens would take more than the card has."""
    room = free_bytes(1.0)
    each = room // 65_536

    def run(packed: Any) -> None:
        torch.empty(len(packed.input_ids), each, dtype=torch.uint8, device="cuda")

    tokens, note = fit_batch_size(run, wanted=65_536, max_length=512)
    assert tokens == 16_384  # three at once within nine tenths: a quarter fits
    assert note is not None
    assert note.startswith("takes batches of 16384 tokens instead of 65536: ")
    assert fit_batch_size(len, wanted=65_536, max_length=512) == (65_536, None)


def test_a_batch_that_does_not_fit_is_halved(checkpoint: Checkpoints, model: Specs) -> None:
    """With memory for some forty rows, where a batch has three hundred: out of memory for real."""
    spec = model(checkpoint("embedding"), "embedding", tokens_per_batch=4000)
    block = block_of(spec, TEXTS)
    wanted = vectors(Encoder(spec).encode(block))
    encoder = Encoder(on_cuda(spec))
    whole, calls = encoder.values, []
    most = 40

    def greedy(batch: Any) -> Any:
        calls.append(len(batch.rows))
        taken = torch.empty(len(batch.rows), (1 << 30) // most, dtype=torch.uint8, device="cuda")
        result = whole(batch)
        del taken
        return result

    encoder.values = greedy  # type: ignore[method-assign]
    limit = torch.cuda.memory_reserved() + int(1.6 * (1 << 30))
    torch.cuda.set_per_process_memory_fraction(limit / torch.cuda.get_device_properties(0).total_memory)
    found = encoder.encode(block)
    assert max(calls) == len(TEXTS)
    assert found.stats.refused == {}
    assert found.stats.batches > 1
    np.testing.assert_allclose(vectors(found), wanted, atol=1e-4)
