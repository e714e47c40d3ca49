"""The arithmetic that plans are made with is what torch counts in the encoder."""

from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny_checkpoints import write_checkpoint
from torch.utils.flop_counter import FlopCounterMode

from corpusmill.models import PackedTokens, read_checkpoint
from corpusmill.models.architectures import ARCHITECTURES
from corpusmill.models.checkpoints.checkpoint import skeleton
from corpusmill.models.request import EncoderRequest

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "convbert": [{"embedding_size": 12}, {"num_groups": 2, "intermediate_size": 40}, {"head_ratio": 4}],
    "mobilebert": [
        {"use_bottleneck": False, "trigram_input": False},
        {"use_bottleneck_attention": True, "num_feedforward_networks": 1},
        {"key_query_shared_bottleneck": False, "intra_bottleneck_size": 32},
    ],
    "squeezebert": [{"q_groups": 2, "output_groups": 8, "post_attention_groups": 2}],
}
CASES = [(name, values) for name in ARCHITECTURES for values in ({}, *VARIANTS.get(name, []))]


@pytest.mark.parametrize(("architecture", "values"), CASES)
def test_flops_are_those_that_torch_counts(tmp_path: Path, architecture: str, values: dict[str, Any]) -> None:
    """Scores included, for one sequence; ConvBERT's dynamic windows are no products to torch."""
    checkpoint = read_checkpoint(write_checkpoint(tmp_path, architecture, "base", **values))
    encoder = skeleton(checkpoint, pooler=False)["encoder"].to_empty(device="cpu")
    length = 23
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        encoder(PackedTokens.from_sequences([[7] * length]), EncoderRequest(attentions=True))
    config: Any = checkpoint.config
    windows = 0
    if architecture == "convbert":
        windows = config.layers * 2 * config.kernel * (config.width // 2)
    assert counter.get_total_flops() == length * (checkpoint.flops_per_token(length) - windows)
