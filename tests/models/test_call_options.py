"""Options of a call: positions, key masks, head masks, vectors for words, and what they are refused with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from corpusmill.models import InputError, PackedTokens, load_model
from corpusmill.models.architectures import ARCHITECTURES

Checkpoints = Callable[[str, str], Path]
SEQUENCES = [[2, 90, 91, 92, 300, 3], [2, 40, 41, 3], [2, 7, 8, 9, 10, 3]]
MASKS = [[1, 0, 1, 1, 0, 1], [1, 1, 0, 1], [0, 1, 1, 0, 0, 1]]
# What each family's attention hands its heads' results to; channels come second in SqueezeBERT.
AFTER_HEADS = {
    "distilbert": "attention.out_lin",
    "squeezebert": "post_attention.conv1d",
}


def assert_close(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_position_ids_replace_the_natural_ones(
    checkpoints: Checkpoints, reference: Any, architecture: str
) -> None:
    """transformers' result for the same positions, which is not that of the usual ones."""
    model = load_model(checkpoints(architecture, "base"))
    alone = reference(model.checkpoint)
    positions = [torch.arange(len(ids)) * 3 + 5 for ids in SEQUENCES]
    packed = PackedTokens.from_sequences(SEQUENCES)
    ours = model(packed, position_ids=torch.cat(positions)).last_hidden_state
    for mine, ids, given in zip(packed.split(ours), SEQUENCES, positions, strict=True):
        assert_close(mine, alone(ids, position_ids=given[None]).last_hidden_state[0])
    assert not torch.allclose(ours, model(packed).last_hidden_state, atol=1e-2)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_masked_keys_are_attended_by_none(
    checkpoints: Checkpoints, reference: Any, architecture: str
) -> None:
    """The masked tokens keep results of their own, as in transformers; states and attentions too."""
    model = load_model(checkpoints(architecture, "base"))
    alone = reference(model.checkpoint)
    packed = PackedTokens.from_sequences(SEQUENCES, key_masks=MASKS)
    fast = model(packed).last_hidden_state
    slow = model(packed, output_hidden_states=True, output_attentions=True)
    assert_close(fast, slow.last_hidden_state)
    for index, ids in enumerate(SEQUENCES):
        theirs = alone(ids, attention_mask=torch.tensor([MASKS[index]]))
        assert_close(packed.split(fast)[index], theirs.last_hidden_state[0])
        for mine_TD, theirs_1LD in zip(slow.hidden_states, theirs.hidden_states, strict=True):
            assert_close(packed.split(mine_TD)[index], theirs_1LD[0])
        for mine, theirs_1HLL in zip(slow.attentions, theirs.attentions, strict=True):
            assert_close(mine[index].clamp(-1e9), theirs_1HLL[0].clamp(-1e9))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_padded_batch_with_holes(checkpoints: Checkpoints, reference: Any, architecture: str) -> None:
    """Padding goes, holes are masked keys."""
    model = load_model(checkpoints(architecture, "base"))
    packed = PackedTokens.from_padded([[2, 90, 91, 92, 3, 0, 0]], [[1, 0, 1, 1, 1, 0, 0]])
    theirs = reference(model.checkpoint)([2, 90, 91, 92, 3], attention_mask=torch.tensor([[1, 0, 1, 1, 1]]))
    assert_close(model(packed).last_hidden_state, theirs.last_hidden_state[0])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("by_layer", [False, True])
def test_a_head_mask_scales_heads(
    checkpoints: Checkpoints, reference: Any, architecture: str, by_layer: bool
) -> None:
    """As if the results of each head were multiplied before the layer after them."""
    model = load_model(checkpoints(architecture, "base"))
    config = model.checkpoint.config
    factors_LH = torch.linspace(0, 1.5, config.layers * config.heads).view(config.layers, config.heads)
    factors_LH = factors_LH if by_layer else factors_LH[:1].expand(config.layers, -1)
    alone = reference(model.checkpoint)
    _scale_heads(alone.model, architecture, factors_LH)
    packed = PackedTokens.from_sequences(SEQUENCES)
    mask = factors_LH if by_layer else factors_LH[0]
    ours = model(packed, head_mask=mask, output_attentions=True)
    assert_close(model(packed, head_mask=mask).last_hidden_state, ours.last_hidden_state)
    for index, ids in enumerate(SEQUENCES):
        theirs = alone(ids)
        assert_close(packed.split(ours.last_hidden_state)[index], theirs.last_hidden_state[0])
        if architecture != "squeezebert":  # reports scores, which no factor touches
            scaled_HLL = theirs.attentions[-1][0] * factors_LH[-1][:, None, None]
            assert_close(ours.attentions[-1][index], scaled_HLL)


def _scale_heads(model: torch.nn.Module, architecture: str, factors_LH: Tensor) -> None:
    ending = AFTER_HEADS.get(architecture, "attention.output.dense")
    modules = [module for name, module in model.named_modules() if name.endswith(ending)]
    assert len(modules) == len(factors_LH)
    for module, factors_H in zip(modules, factors_LH, strict=True):

        def scaled(_: Any, inputs: tuple[Tensor], factors_H: Tensor = factors_H) -> Tensor:
            x = inputs[0].transpose(1, 2) if architecture == "squeezebert" else inputs[0]
            width = x.shape[-1] // (2 if architecture == "convbert" else 1)  # its other half are convolutions
            y = torch.cat(
                [x[..., :width] * factors_H.repeat_interleave(width // len(factors_H)), x[..., width:]], -1
            )
            return y.transpose(1, 2) if architecture == "squeezebert" else y

        module.register_forward_pre_hook(scaled)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_inputs_embeds_stand_in_for_words(
    checkpoints: Checkpoints, reference: Any, architecture: str
) -> None:
    """The ids are then never looked up, whatever they are."""
    model = load_model(checkpoints(architecture, "base"))
    width = model.checkpoint.config.embedding_size
    embeds_TE = torch.randn(sum(map(len, SEQUENCES)), width, generator=torch.Generator().manual_seed(4))
    packed = PackedTokens.from_sequences([[10**6] * len(ids) for ids in SEQUENCES])
    ours = model(packed, inputs_embeds=embeds_TE).last_hidden_state
    theirs = reference(model.checkpoint).model
    for mine, embeds_LE in zip(packed.split(ours), packed.split(embeds_TE), strict=True):
        with torch.inference_mode():
            assert_close(mine, theirs(inputs_embeds=embeds_LE[None]).last_hidden_state[0])


def test_several_choices_make_a_row(checkpoints: Checkpoints, reference: Any) -> None:
    """A question's choices are neighbours; their lengths may differ."""
    model = load_model(checkpoints("bert", "multiple-choice"))
    sequences = [*SEQUENCES, *SEQUENCES[::-1]]
    ours = model(PackedTokens.from_sequences(sequences), num_choices=3).logits
    assert ours.shape == (2, 3)
    alone = reference(model.checkpoint)
    assert_close(ours.flatten(), torch.cat([alone(ids).logits[0] for ids in sequences]))


SCORED = torch.tensor([13, 1, 1, 0])
WORD_TASKS = [
    (name, task)
    for name, spec in ARCHITECTURES.items()
    for task in ("fill-mask", "pretraining")
    if task not in spec.lacks
]


@pytest.mark.parametrize(("architecture", "task"), WORD_TASKS)
def test_only_scored_tokens_get_word_scores(checkpoints: Checkpoints, architecture: str, task: str) -> None:
    """In the order asked for, and as often; what is not about words stays."""
    model = load_model(checkpoints(architecture, task))
    packed = PackedTokens.from_sequences(SEQUENCES)
    all_of_them, some = vars(model(packed)), vars(model(packed, scored_tokens=SCORED))
    words = "logits" if task == "fill-mask" else "prediction_logits"
    assert_close(some[words], all_of_them[words][SCORED])
    if task == "pretraining":
        assert torch.equal(some["seq_relationship_logits"], all_of_them["seq_relationship_logits"])
    none = model(packed, scored_tokens=torch.zeros(0, dtype=torch.int64))
    assert vars(none)[words].shape == (0, model.checkpoint.vocab_size)


@pytest.mark.parametrize("task", ["fill-mask", "pretraining"])
def test_labels_of_scored_tokens(checkpoints: Checkpoints, task: str) -> None:
    """One a scored token: the loss is as if the other tokens did not count."""
    model = load_model(checkpoints("bert", task))
    packed = PackedTokens.from_sequences(SEQUENCES)
    scored, labels = torch.tensor([13, 1, 4]), torch.tensor([7, 8, -100])
    whole = torch.full((16,), -100)
    whole[scored] = labels
    follows = {"next_sentence_label": torch.tensor([1, 0, 1])} if task == "pretraining" else {}
    ours = model(packed, scored_tokens=scored, labels=labels, **follows).loss
    torch.testing.assert_close(ours, model(packed, labels=whole, **follows).loss)
    with pytest.raises(InputError, match=r"labels: expected shape \(3,\), got \(16,\)"):
        model(packed, scored_tokens=scored, labels=whole, **follows)


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("base", {"head_mask": torch.ones(3)}, r"head_mask: expected shape \(4,\), got \(3,\)"),
        ("base", {"head_mask": torch.ones(4, 2)}, r"head_mask: expected shape \(2, 4\), got \(4, 2\)"),
        ("base", {"inputs_embeds": torch.ones(16, 3)}, r"inputs_embeds: expected shape \(16, 32\)"),
        (
            "base",
            {"position_ids": torch.zeros(3, dtype=torch.int64)},
            r"position_ids: expected shape \(16,\)",
        ),
        ("base", {"labels": torch.zeros(3)}, "labels: expected no labels for base"),
        ("text-classification", {"num_choices": 3}, "num_choices: expected labels for text-classification"),
        ("multiple-choice", {}, "num_choices: expected a divisor of the batch's 3 sequences, got None"),
        ("multiple-choice", {"num_choices": 2}, "num_choices: expected a divisor of .* got 2"),
        (
            "question-answering",
            {"end_positions": torch.zeros(3)},
            "end_positions: expected start_positions and",
        ),
        (
            "pretraining",
            {"next_sentence_label": torch.zeros(3)},
            "next_sentence_label: expected labels and next_sentence_label, got one",
        ),
        (
            "token-classification",
            {"scored_tokens": SCORED},
            "scored_tokens: expected labels for token-classification, which does not take this option",
        ),
        ("sparse-embedding", {"scored_tokens": SCORED}, "scored_tokens: expected no labels for sparse-"),
        ("fill-mask", {"scored_tokens": SCORED + 3}, "scored_tokens: expected 0 to 15, the tokens .*got 16"),
        ("fill-mask", {"scored_tokens": SCORED - 1}, "scored_tokens: expected 0 to 15, .*got -1"),
        ("fill-mask", {"scored_tokens": SCORED.int()}, "scored_tokens: expected one dimension of int64, got"),
        ("fill-mask", {"scored_tokens": SCORED[None]}, r"int64, got torch.int64 of shape \(1, 4\)"),
        ("fill-mask", {"labels": torch.zeros(3)}, r"labels: expected shape \(16,\), got \(3,\)"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    checkpoints: Checkpoints, task: str, options: dict[str, Any], message: str
) -> None:
    """With the option's name and what the head takes; nothing is ignored."""
    model = load_model(checkpoints("bert", task), task)
    with pytest.raises(InputError, match=message):
        model(PackedTokens.from_sequences(SEQUENCES), **options)
