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
CELLS = [(architecture, task) for architecture in ARCHITECTURES for task in HEADS]

Checkpoints = Callable[[str, str], Path]


def assert_close(ours: Tensor, theirs: Tensor, *, tolerance: float = 1e-5) -> None:
    """Compares with a tolerance relative to the largest value expected."""
    assert ours.shape == theirs.shape
    assert (ours.float() - theirs).abs().max() <= tolerance * theirs.abs().max()


def types_of(sequences: list[list[int]]) -> list[list[int]]:
    return [[int(2 * index >= len(ids)) for index in range(len(ids))] for ids in sequences]


def expected(alone: Any, ids: list[int], types: list[int] | None, task: str) -> dict[str, Tensor]:
    """transformers' output for one sequence, under the names of our records."""
    theirs = alone(ids, types)
    if task == "text-classification":
        return {"logits": theirs.logits[0]}
    states_LD = theirs.last_hidden_state[0]
    if task == "embedding":
        return {"embeddings": states_LD.mean(dim=0)}
    pooled = {} if theirs.get("pooler_output") is None else {"pooler_output": theirs.pooler_output[0]}
    return {"last_hidden_state": states_LD, **pooled}


@pytest.mark.parametrize(("architecture", "task"), CELLS)
@pytest.mark.parametrize("typed", [False, True])
def test_output_matches_transformers(
    checkpoints: Checkpoints, reference: Any, architecture: str, task: str, typed: bool
) -> None:
    """Within 1e-5 of the output's scale, with and without token types."""
    model = load_model(checkpoints(architecture, task), task)
    alone = reference(model.checkpoint)
    types = types_of(SEQUENCES) if typed and model.checkpoint.uses_token_types else None
    packed = PackedTokens.from_sequences(SEQUENCES, types)
    ours = model(packed)
    for index, ids in enumerate(SEQUENCES):
        for name, value in expected(alone, ids, types and types[index], task).items():
            mine = getattr(ours, name)
            assert_close(packed.split(mine)[index] if name == "last_hidden_state" else mine[index], value)


@pytest.mark.parametrize(("architecture", "task"), CELLS)
def test_hidden_states_and_attentions_match_transformers(
    checkpoints: Checkpoints, reference: Any, architecture: str, task: str
) -> None:
    """Asked for, each layer's states and probabilities are transformers'."""
    model = load_model(checkpoints(architecture, task), task)
    alone = reference(model.checkpoint)
    packed = PackedTokens.from_sequences(SEQUENCES)
    ours = model(packed, output_hidden_states=True, output_attentions=True)
    for index, ids in enumerate(SEQUENCES):
        theirs = alone(ids)
        for mine_TD, theirs_1LD in zip(ours.hidden_states, theirs.hidden_states, strict=True):
            assert_close(packed.split(mine_TD)[index], theirs_1LD[0])
        for mine, theirs_1HLL in zip(ours.attentions, theirs.attentions, strict=True):
            assert_close(mine[index], theirs_1HLL[0])


@pytest.mark.parametrize(("architecture", "task"), CELLS)
def test_nothing_is_recorded_unless_asked_for(checkpoints: Checkpoints, architecture: str, task: str) -> None:
    """Hidden states and attentions cost memory, so the default is None."""
    output = load_model(checkpoints(architecture, task), task)(PackedTokens.from_sequences(SEQUENCES))
    assert output.hidden_states is None
    assert output.attentions is None


@pytest.mark.parametrize(("architecture", "task"), CELLS)
def test_asking_for_attentions_changes_no_result(
    checkpoints: Checkpoints, architecture: str, task: str
) -> None:
    """The path that returns probabilities agrees with the fast one."""
    model = load_model(checkpoints(architecture, task), task)
    packed = PackedTokens.from_sequences(SEQUENCES)
    fast, slow = (
        model(packed, output_hidden_states=True),
        model(packed, output_hidden_states=True, output_attentions=True),
    )
    assert_close(fast.hidden_states[-1], slow.hidden_states[-1])


@pytest.mark.parametrize(("architecture", "task"), CELLS)
def test_bfloat16_is_near_float32(checkpoints: Checkpoints, architecture: str, task: str) -> None:
    """Eight bits of mantissa, two layers: a few percent of the scale."""
    packed = PackedTokens.from_sequences(SEQUENCES)
    exact, rough = (
        load_model(checkpoints(architecture, task), task, dtype=name) for name in ("float32", "bfloat16")
    )
    field = {"base": "last_hidden_state", "embedding": "embeddings", "text-classification": "logits"}[task]
    assert_close(getattr(rough(packed), field), getattr(exact(packed), field), tolerance=0.05)


def test_position_ids_can_be_given(checkpoints: Checkpoints) -> None:
    """Shifted positions give transformers' result for the same positions."""
    model = load_model(checkpoints("bert", "base"))
    ids, positions = [2, 90, 91, 3], torch.tensor([5, 6, 7, 8])
    shifted = model(PackedTokens.from_sequences([ids]), position_ids=positions).last_hidden_state
    padded = model(PackedTokens.from_sequences([ids])).last_hidden_state
    import transformers

    theirs = transformers.BertModel.from_pretrained(model.checkpoint.folder).eval()
    with torch.inference_mode():
        wanted = theirs(input_ids=torch.tensor([ids]), position_ids=positions[None]).last_hidden_state[0]
    assert_close(shifted, wanted)
    assert not torch.allclose(shifted, padded)
