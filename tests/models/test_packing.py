"""A sequence's result is what the model gives for it alone, whatever it is packed with."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.tiny_checkpoints import write_checkpoint

from corpusmill.models import PackedTokens, load_model
from corpusmill.models.architectures import ARCHITECTURES
from corpusmill.models.heads import HEADS

pytestmark = pytest.mark.usefixtures("either_way")
Checkpoints = Callable[[str, str], Path]
CELLS = [(name, task) for name, spec in ARCHITECTURES.items() for task in HEADS if task not in spec.lacks]
OUTPUTS = {"distilbert": "vocab_projector.weight", "convbert": "generator_lm_head.weight"}


def scale(parts: list[dict[str, torch.Tensor]], name: str) -> torch.Tensor:
    return torch.stack([part[name].abs().max() for part in parts]).max()


def check_packed_equals_alone(model: Any, results: Any, *, seed: str, rounds: int, batch: int) -> None:
    """Random lengths from one to the longest, orders, runs, types and neighbours.

    As each is compared with what it is alone, order does not matter either.
    """
    rng = random.Random(seed)
    longest = model.checkpoint.max_positions
    for _ in range(rounds):
        lengths = [rng.choice([1, 2, longest, rng.randint(1, longest), 17]) for _ in range(batch)]
        lengths += [3, 3, 8, 3, 21, 8]  # a run of one length, and lengths that come again later
        sequences = [[rng.randrange(5, model.checkpoint.vocab_size) for _ in range(n)] for n in lengths]
        types = [[rng.randrange(2) for _ in range(n)] for n in lengths]
        together = results(model, PackedTokens.from_sequences(sequences, types))
        for index in [*rng.sample(range(batch), 3), *range(batch, len(lengths))]:
            (alone,) = results(model, PackedTokens.from_sequences([sequences[index]], [types[index]]))
            for name, value in alone.items():
                assert (together[index][name] - value).abs().max() <= 1e-5 * scale(together, name)


@pytest.mark.parametrize(("architecture", "task"), CELLS)
def test_packed_equals_alone(tmp_path: Path, results: Any, architecture: str, task: str) -> None:
    """Up to 512 tokens."""
    model = load_model(write_checkpoint(tmp_path, architecture, task, max_positions=512), task)
    check_packed_equals_alone(model, results, seed=f"{architecture} {task}", rounds=2, batch=8)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("architecture", "task"), CELLS)
@pytest.mark.parametrize("seed", range(5))
def test_packed_equals_alone_more_often(
    tmp_path: Path, results: Any, architecture: str, task: str, seed: int
) -> None:
    """More batches, larger ones, other weights."""
    model = load_model(write_checkpoint(tmp_path, architecture, task, max_positions=512, seed=seed), task)
    check_packed_equals_alone(model, results, seed=f"{architecture} {task} {seed}", rounds=10, batch=24)


@pytest.mark.parametrize(("architecture", "task"), CELLS)
def test_a_poisoned_neighbour_does_not_leak(
    checkpoints: Checkpoints, tmp_path: Path, results: Any, architecture: str, task: str
) -> None:
    """A word whose vector is NaN ruins its own sequence and no other, at either side and any length."""
    source = checkpoints(architecture, task)
    (tmp_path / "config.json").write_bytes((source / "config.json").read_bytes())
    tensors = load_file(source / "model.safetensors")
    (words,) = (name for name in tensors if name.endswith("embeddings.word_embeddings.weight"))
    if task in (
        "fill-mask",
        "pretraining",
        "sparse-embedding",
    ):  # else the tied output matrix would score the word with NaN
        tensors[OUTPUTS.get(architecture, "cls.predictions.decoder.weight")] = tensors[words].clone()
    tensors[words][77] = float("nan")
    save_file(tensors, tmp_path / "model.safetensors")
    model = load_model(tmp_path, task)
    poisoned = [2, 77, 90, 3]
    parts = results(
        model, PackedTokens.from_sequences([poisoned, [2, 80, 81, 3], poisoned, [2, 80, 3], [9], poisoned])
    )
    for index, healthy in enumerate([False, True, False, True, True, False]):
        assert all(bool(torch.isfinite(value).all()) == healthy for value in parts[index].values())


def test_padding_on_either_side_is_dropped(checkpoints: Checkpoints) -> None:
    """Padded tensors give what their sequences give unpadded."""
    model = load_model(checkpoints("bert", "embedding"), "embedding")
    ids = np.array([[2, 90, 91, 3], [2, 92, 3, 0], [0, 0, 94, 3]])
    padded = PackedTokens.from_padded(ids, (ids > 0).astype(int), np.zeros_like(ids))
    plain = PackedTokens.from_sequences([[2, 90, 91, 3], [2, 92, 3], [94, 3]])
    assert torch.equal(model(padded).embeddings, model(plain).embeddings)
