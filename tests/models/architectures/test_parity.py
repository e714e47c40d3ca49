"""Every architecture and head gives what transformers gives for each sequence alone, unpadded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from corpusmill.models import PackedTokens, load_model
from corpusmill.models.architectures import ARCHITECTURES
from corpusmill.models.heads import HEADS

SEQUENCES = [[2, 40, 3], [2, 90, 91, 92, 200, 3], [2, 301, 7, 3], [2, *range(100, 225), 3], [5], [2, 9, 9, 3]]
CELLS = [(name, task) for name, spec in ARCHITECTURES.items() for task in HEADS if task not in spec.lacks]

pytestmark = pytest.mark.usefixtures("either_way")
Checkpoints = Callable[[str, str], Path]


def assert_close(ours: Tensor, theirs: Tensor, *, tolerance: float = 1e-5) -> None:
    """Compares with a tolerance relative to the largest value expected."""
    assert ours.shape == theirs.shape
    assert (ours.float() - theirs).abs().max() <= tolerance * theirs.abs().max()


def assert_all_close(
    ours: list[dict[str, Tensor]], theirs: list[dict[str, Tensor]], tolerance: float
) -> None:
    """Compares each result of all sequences by that result's scale over them."""
    assert [one.keys() for one in ours] == [one.keys() for one in theirs]
    for name in ours[0]:
        shapes = [[one[name].shape for one in parts] for parts in (ours, theirs)]
        assert shapes[0] == shapes[1]
        mine, wanted = (torch.cat([one[name].flatten().float() for one in parts]) for parts in (ours, theirs))
        assert_close(mine, wanted, tolerance=tolerance)


def types_of(sequences: list[list[int]]) -> list[list[int]]:
    return [[int(2 * index >= len(ids)) for index in range(len(ids))] for ids in sequences]


@pytest.mark.parametrize(("architecture", "task"), CELLS)
def test_everything_matches_transformers(
    checkpoints: Checkpoints, reference: Any, results: Any, expected: Any, architecture: str, task: str
) -> None:
    """Results, hidden states and attentions within 1e-5 of their scale, with and without token types.

    Nothing is recorded unless asked for, and asking changes no result. Eight bits of mantissa, two layers:
    bfloat16 is within a few percent of the scale.
    """
    model = load_model(checkpoints(architecture, task), task)
    rough = load_model(checkpoints(architecture, task), task, dtype="bfloat16")
    alone = reference(model.checkpoint)
    choices = {"num_choices": 1} if task == "multiple-choice" else {}
    for types in (None, types_of(SEQUENCES) if model.checkpoint.uses_token_types else None):
        packed = PackedTokens.from_sequences(SEQUENCES, types)
        ours = results(model, packed)
        wanted = [alone(ids, types and types[index]) for index, ids in enumerate(SEQUENCES)]
        assert_all_close(ours, [expected(theirs, task) for theirs in wanted], 1e-5)
        assert_all_close(results(rough, packed), ours, 0.05)
        record = model(packed, output_hidden_states=True, output_attentions=True, **choices)
        assert_records_close(packed, record, wanted)
        plain = model(packed, **choices)
        assert (plain.hidden_states, plain.attentions) == (None, None)
        assert_all_close(results(model, packed, output_attentions=True), ours, 1e-5)


def assert_records_close(packed: PackedTokens, record: Any, wanted: list[Any]) -> None:
    """Compare hidden states and attentions of every layer, sequence by sequence."""
    for index, theirs in enumerate(wanted):
        for mine_TD, theirs_1LD in zip(record.hidden_states, theirs.hidden_states, strict=True):
            assert_close(packed.split(mine_TD)[index], theirs_1LD[0])
        for mine, theirs_1HLL in zip(record.attentions, theirs.attentions, strict=True):
            assert_close(mine[index], theirs_1HLL[0])
