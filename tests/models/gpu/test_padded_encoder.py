"""Batches padded to a size give what they give as they are: what graphs replay, without a GPU."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from corpusmill.models import Model, PackedTokens, load_model
from corpusmill.models.architectures import ARCHITECTURES
from corpusmill.models.gpu.padded_encoder import PaddedEncoder
from corpusmill.models.gpu.padded_sizes import PaddedSize
from corpusmill.models.heads import HEADS
from corpusmill.models.ops.padding import GraphInputs, padded, padded_size_of
from corpusmill.models.request import EncoderRequest

Checkpoints = Callable[[str, str], Path]
CELLS = [(name, task) for name, spec in ARCHITECTURES.items() for task in HEADS if task not in spec.lacks]
LENGTHS = [(1,), (5, 5, 3), (128, 1, 17, 128, 2), (100,) * 9 + (1,), (64, 64)]


class Slotted:
    """What a recorded graph does, without recording: copies into slots that hold what the last batch left."""

    def __init__(self, encoder: Any, tokens: int) -> None:
        self.encoder = encoder
        self.slots = GraphInputs.of(tokens=tokens, device=torch.device("cpu"))
        self.sizes: list[PaddedSize] = []

    def __call__(self, batch: PackedTokens, size: PaddedSize, request: EncoderRequest) -> Tensor:
        self.sizes.append(size)
        self.slots.fill(batch)
        # The CPU's attention asks the host for lengths; a graph's does not.
        slotted = replace(self.slots.batch(size), lengths=batch.lengths, runs=batch.runs)
        states: Tensor = self.encoder(slotted, request).last_hidden_state
        return states.clone()


def padded_encoder(model: Model, *, slots: bool = False) -> PaddedEncoder:
    runner = Slotted(model.encoder, 4096) if slots else None
    return PaddedEncoder(model.encoder, positions=model.checkpoint.max_positions, limit=4096, runner=runner)


def batch_of(lengths: tuple[int, ...], *, types: bool = True, seed: int = 0) -> PackedTokens:
    generator = torch.Generator().manual_seed(seed)
    ids = [torch.randint(5, 400, (n,), generator=generator) for n in lengths]
    kinds = [torch.randint(0, 2, (n,), generator=generator) for n in lengths]
    return PackedTokens.from_sequences(ids, kinds if types else None)


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "task"), CELLS)
@pytest.mark.parametrize("slots", [False, True])
def test_padded_batches_give_the_same(
    checkpoints: Checkpoints, results: Any, architecture: str, task: str, slots: bool
) -> None:
    """Every head, also where the slots still hold another batch."""
    model = load_model(checkpoints(architecture, task), task)
    plain, small = model.encoder, padded_encoder(model, slots=slots)
    for number, lengths in enumerate(LENGTHS):
        packed = batch_of(lengths, types=number % 2 == 0, seed=number)
        model.encoder = plain
        wanted = results(model, packed)
        model.encoder = small
        for found, expected in zip(results(model, packed), wanted, strict=True):
            for name, value in expected.items():
                assert found[name].shape == value.shape
                scale = max(part[name].abs().max() for part in wanted)
                assert (found[name] - value).abs().max() <= 1e-5 * scale


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nan_in_a_sequence_or_in_the_padding_does_not_leak(
    checkpoints: Checkpoints, tmp_path: Path, architecture: str
) -> None:
    """A word of NaN, and padding of NaN: its word, 0, is one too."""
    source = checkpoints(architecture, "base")
    (tmp_path / "config.json").write_bytes((source / "config.json").read_bytes())
    tensors = load_file(source / "model.safetensors")
    (words,) = (name for name in tensors if name.endswith("embeddings.word_embeddings.weight"))
    tensors[words][[0, 77]] = float("nan")
    save_file(tensors, tmp_path / "model.safetensors")
    model = load_model(tmp_path, "base")
    model.encoder = padded_encoder(model, slots=True)
    packed = PackedTokens.from_sequences([[2, 77, 3], [2, 80, 81, 3], [2, 77, 3], [9]])
    parts = packed.split(model(packed).last_hidden_state)
    assert [bool(part.isfinite().all()) for part in parts] == [False, True, False, True]


def test_what_asks_for_more_is_not_padded(checkpoints: Checkpoints) -> None:
    """Hidden states, attentions, masks and vectors go the plain way, and long batches do."""
    model = load_model(checkpoints("bert", "base"), "base")
    small = model.encoder = padded_encoder(model, slots=True)
    assert isinstance(small.runner, Slotted)
    packed = batch_of((5, 7))
    model(packed, output_hidden_states=True)
    model(packed, output_attentions=True)
    model(packed, head_mask=torch.ones(4))
    model(packed, inputs_embeds=torch.zeros(12, 32))
    model(PackedTokens.from_sequences([[1, 2, 3]], key_masks=[[1, 0, 1]]))
    model(batch_of((128,) * 33))
    assert small.runner.sizes == []
    assert model(packed).last_hidden_state.shape == (12, 32)
    assert [size.tokens for size in small.runner.sizes] == [128]


def test_slots_have_no_memory_of_their_bounds() -> None:
    """A batch that a graph is recorded with computes where its sequences end from the slots, not before."""
    slots = GraphInputs.of(tokens=256, device=torch.device("cpu"))
    one, other = batch_of((100,)), batch_of((30, 70))
    size = padded_size_of(other, positions=128)
    slots.fill(padded(one, size))
    assert slots.batch(size).bounds[1][0] == 100
    slots.fill(padded(other, size))
    assert slots.batch(size).bounds[1][0] == 30


@pytest.mark.parametrize("lengths", LENGTHS)
def test_padding_is_sequences_of_its_own(lengths: tuple[int, ...]) -> None:
    """The batch first, then short ones, then empty ones; what the host knows agrees with the tensors."""
    packed = batch_of(lengths)
    size = padded_size_of(packed, positions=128)
    found = padded(packed, size)
    assert found.cu_seqlens.diff().tolist() == found.lengths.tolist()
    assert len(found.input_ids) == len(found.position_ids) == size.tokens == int(found.cu_seqlens[-1])
    assert len(found) == size.sequences
    assert found.lengths[: len(lengths)].tolist() == list(lengths)
    runs = [run.length for run in found.runs for _ in range(run.count)]
    assert runs == [length for length in found.lengths.tolist() if length]
    assert [run.start for run in found.runs] == [
        sum(each.count * each.length for each in found.runs[:index]) for index in range(len(found.runs))
    ]
    for places in found.split(found.position_ids):
        assert places.tolist() == list(range(len(places)))
