"""A sequence's result is what the model gives for it alone, whatever it is packed with."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from corpusmill.models import Model, PackedTokens, load_model
from corpusmill.models.architectures import ARCHITECTURES
from corpusmill.models.heads import HEADS

Checkpoints = Callable[[str, str], Path]
CELLS = [(architecture, task) for architecture in ARCHITECTURES for task in HEADS]
WORDS = {
    "bert": "bert.embeddings.word_embeddings.weight",
    "distilbert": "distilbert.embeddings.word_embeddings.weight",
}


def results(model: Model, sequences: list[list[int]]) -> list[torch.Tensor]:
    """The task's main output, one tensor a sequence."""
    packed = PackedTokens.from_sequences(sequences)
    output = model(packed)
    if model.checkpoint.task == "base":
        return list(packed.split(output.last_hidden_state))
    return list(output.embeddings if model.checkpoint.task == "embedding" else output.logits)


@pytest.mark.parametrize(("architecture", "task"), CELLS)
def test_packed_equals_alone(checkpoints: Checkpoints, architecture: str, task: str) -> None:
    """Over random lengths from one to the longest, orders and neighbours."""
    model = load_model(checkpoints(architecture, task), task)
    rng = random.Random(7)
    longest = model.checkpoint.max_positions
    for _ in range(5):
        lengths = [rng.choice([1, 2, longest, rng.randint(1, longest), 17]) for _ in range(12)]
        sequences = [[rng.randrange(5, model.checkpoint.vocab_size) for _ in range(n)] for n in lengths]
        together = results(model, sequences)
        for index in rng.sample(range(12), 4):
            (alone,) = results(model, [sequences[index]])
            assert (together[index] - alone).abs().max() <= 1e-5 * alone.abs().max()


@pytest.mark.parametrize(("architecture", "task"), CELLS)
def test_order_does_not_matter(checkpoints: Checkpoints, architecture: str, task: str) -> None:
    """Sorted by length, or shuffled so that every run is one sequence long."""
    model = load_model(checkpoints(architecture, task), task)
    sequences = [[5 + (7 * n + k) % 400 for k in range(n)] for n in (3, 3, 3, 8, 8, 21)]
    order = [3, 0, 5, 1, 4, 2]
    in_order = results(model, sequences)
    shuffled = results(model, [sequences[index] for index in order])
    for place, index in enumerate(order):
        assert torch.allclose(shuffled[place], in_order[index], rtol=0, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("task", HEADS)
def test_a_poisoned_neighbour_does_not_leak(
    checkpoints: Checkpoints, tmp_path: Path, architecture: str, task: str
) -> None:
    """A word whose vector is NaN ruins its own sequence and no other, at either side and any length."""
    folder = tmp_path / "poisoned"
    source = checkpoints(architecture, "text-classification")
    folder.mkdir()
    (folder / "config.json").write_bytes((source / "config.json").read_bytes())
    tensors = load_file(source / "model.safetensors")
    tensors[WORDS[architecture]][77] = float("nan")
    save_file(tensors, folder / "model.safetensors")
    model = load_model(folder, "base" if task == "base" else task)
    poisoned = [2, 77, 90, 3]
    parts = results(model, [poisoned, [2, 80, 81, 3], poisoned, [2, 80, 3], [9], poisoned])
    finite = [bool(torch.isfinite(part).all()) for part in parts]
    assert finite == [False, True, False, True, True, False]


def test_padding_on_either_side_is_dropped(checkpoints: Checkpoints) -> None:
    """Padded tensors give what their sequences give unpadded."""
    model = load_model(checkpoints("bert", "embedding"), "embedding")
    ids = np.array([[2, 90, 91, 3], [2, 92, 3, 0], [0, 0, 94, 3]])
    padded = PackedTokens.from_padded(ids, (ids > 0).astype(int), np.zeros_like(ids))
    plain = PackedTokens.from_sequences([[2, 90, 91, 3], [2, 92, 3], [94, 3]])
    assert torch.equal(model(padded).embeddings, model(plain).embeddings)
