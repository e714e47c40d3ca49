"""One vector a sequence, as the checkpoint's sentence-transformers files say; else the mean, not normalized.

Shape suffixes: N sequences, D width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corpusmill.models.blocks import ActivatedLinear
from corpusmill.models.ops.pooling import POOLINGS
from corpusmill.models.outputs import EmbeddingOutput, Encoded
from corpusmill.models.packed import PackedTokens
from corpusmill.models.request import Targets
from corpusmill.models.sentence_modules import Dense
from corpusmill.models.spec import Head, HeadParts


class UnitLength(nn.Module):
    """Divides each vector by its Euclidean length."""

    def forward(self, x_ND: Tensor) -> Tensor:
        return F.normalize(x_ND, dim=-1)


class Embedding(nn.Module):
    """Poolings side by side, then projections and normalization, in float32 from the pooling on."""

    def __init__(self, poolings: tuple[str, ...], steps: list[nn.Module]) -> None:
        super().__init__()
        self.poolings = [POOLINGS[name] for name in poolings]
        self.steps = nn.ModuleList(steps)

    def forward(self, encoded: Encoded, packed: PackedTokens, _targets: Targets) -> EmbeddingOutput:
        states_TD = encoded.last_hidden_state.float()
        x_ND = torch.cat([pool(states_TD, packed) for pool in self.poolings], dim=-1)
        for step in self.steps:
            x_ND = step(x_ND)
        return EmbeddingOutput(
            embeddings=x_ND, hidden_states=encoded.hidden_states, attentions=encoded.attentions
        )


def _build(parts: HeadParts) -> Embedding:
    if parts.sentence is None:
        return Embedding(("mean",), [])
    steps: list[nn.Module] = [
        ActivatedLinear(step.in_features, step.out_features, step.activation, bias=step.bias)
        if isinstance(step, Dense)
        else UnitLength()
        for step in parts.sentence.steps
    ]
    return Embedding(parts.sentence.pooling, steps)


SPEC = Head(task="embedding", classes=(), build=_build, job_task="embedding")
