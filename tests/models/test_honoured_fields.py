"""Config fields that change what is computed change it as in transformers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny_checkpoints import write_checkpoint

from corpusmill.models import PackedTokens, load_model

IDS = [2, 90, 91, 92, 300, 3]


@pytest.mark.parametrize(
    ("architecture", "values"),
    [
        ("bert", {"hidden_act": "relu"}),
        ("bert", {"hidden_act": "gelu_new"}),
        ("bert", {"hidden_act": "silu"}),
        ("bert", {"layer_norm_eps": 0.3}),
        ("bert", {"type_vocab_size": 5}),
        ("bert", {"num_attention_heads": 2}),
        ("bert", {"intermediate_size": 11}),
        ("distilbert", {"activation": "relu"}),
        ("distilbert", {"activation": "gelu_new"}),
        ("distilbert", {"sinusoidal_pos_embds": True}),
        ("distilbert", {"layer_norm_eps": 0.3}),
        ("distilbert", {"hidden_act": "relu"}),
        ("distilbert", {"n_heads": 2}),
    ],
)
def test_output_matches_transformers(
    tmp_path: Path, reference: Any, architecture: str, values: dict[str, Any]
) -> None:
    """DistilBERT ignores layer_norm_eps and hidden_act, and so do we."""
    write_checkpoint(tmp_path, architecture, "base", **values)
    model = load_model(tmp_path)
    wanted = reference(model.checkpoint)(IDS).last_hidden_state[0]
    ours = model(PackedTokens.from_sequences([IDS])).last_hidden_state
    assert (ours - wanted).abs().max() <= 1e-5 * wanted.abs().max()


def test_each_token_type_has_its_vector(tmp_path: Path, reference: Any) -> None:
    """Also beyond the usual two."""
    write_checkpoint(tmp_path, "bert", "base", type_vocab_size=5)
    model = load_model(tmp_path)
    types = [0, 1, 2, 3, 4, 4]
    wanted = reference(model.checkpoint)(IDS, types).last_hidden_state[0]
    ours = model(PackedTokens.from_sequences([IDS], [types])).last_hidden_state
    torch.testing.assert_close(ours, wanted, rtol=0, atol=2e-5)
