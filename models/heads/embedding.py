"""One vector per sequence, by the checkpoint's sentence-transformers files or the caller's options.

Shape suffixes: N sequences, D width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corpusmill.models.checkpoints.embedding_plan import Truncate
from corpusmill.models.checkpoints.sentence_modules import Dense, LayerNorm, VectorStep
from corpusmill.models.checkpoints.spec import Head, HeadParts
from corpusmill.models.heads.parts import SequenceSummary
from corpusmill.models.layers.blocks import ActivatedLinear
from corpusmill.models.ops.pooling import POOLINGS
from corpusmill.models.outputs import EmbeddingOutput, EncoderOutput
from corpusmill.models.packed import PackedTokens
from corpusmill.models.request import HeadTargets


class UnitLength(nn.Module):
    """Division of each vector by its Euclidean length."""

    def forward(self, x_ND: Tensor) -> Tensor:
        return F.normalize(x_ND, dim=-1)


class FirstValues(nn.Module):
    """The first values of each vector."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.dimensions = dimensions

    def forward(self, x_ND: Tensor) -> Tensor:
        return x_ND[:, : self.dimensions].contiguous()


class ResidualProjection(nn.Module):
    """A projection, to which its input is added; the input is mapped where the widths differ."""

    def __init__(self, step: Dense) -> None:
        super().__init__()
        self.map = ActivatedLinear(step.in_features, step.out_features, step.activation, bias=step.bias)
        same = step.in_features == step.out_features
        self.residual = None if same else nn.Linear(step.in_features, step.out_features, bias=False)

    def forward(self, x_ND: Tensor) -> Tensor:
        return self.map(x_ND) + (x_ND if self.residual is None else self.residual(x_ND))  # type: ignore[no-any-return]


class VectorNorm(nn.Module):
    """A norm of each vector, with a weight and a bias per dimension."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dimension)

    def forward(self, x_ND: Tensor) -> Tensor:
        return self.norm(x_ND)  # type: ignore[no-any-return]


class TokenPoolings(nn.Module):
    """Poolings side by side, in float32."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self.poolings = [POOLINGS[name] for name in names]

    def forward(self, states_TD: Tensor, packed: PackedTokens) -> Tensor:
        states_TD = states_TD.float()
        return torch.cat([pool(states_TD, packed) for pool in self.poolings], dim=-1)


class EmbeddingHead(nn.Module):
    """A pooler or poolings, then projections and normalization, in float32 from the pooling on.

    `token_steps` change the states before the pooling, in float32 too.
    """

    def __init__(self, token_steps: list[nn.Module], pooler: nn.Module, steps: list[nn.Module]) -> None:
        super().__init__()
        self.token_steps = nn.ModuleList(token_steps)
        self.pooler = pooler
        self.steps = nn.ModuleList(steps)

    def forward(self, encoded: EncoderOutput, packed: PackedTokens, _targets: HeadTargets) -> EmbeddingOutput:
        states_TD = encoded.last_hidden_state
        for step in self.token_steps:
            states_TD = step(states_TD.float())
        x_ND = self.pooler(states_TD, packed).float()
        for step in self.steps:
            x_ND = step(x_ND)
        return EmbeddingOutput(
            embeddings=x_ND, hidden_states=encoded.hidden_states, attentions=encoded.attentions
        )


def _build(parts: HeadParts) -> EmbeddingHead:
    plan = parts.embedding
    return EmbeddingHead(
        token_steps=[_step(step) for step in plan.token_steps],
        pooler=_pretrained_pooler(parts) if plan.needs_pooler else TokenPoolings(plan.pooling),
        steps=[_step(step) for step in plan.steps],
    )


def _pretrained_pooler(parts: HeadParts) -> nn.Module:
    pooler = parts.design.pooler
    assert pooler is not None, "planned for an architecture without a pooler"
    return SequenceSummary(pooler, parts.width)


def _step(step: VectorStep | Truncate) -> nn.Module:
    if isinstance(step, Dense) and step.residual:
        return ResidualProjection(step)
    if isinstance(step, Dense):
        return ActivatedLinear(step.in_features, step.out_features, step.activation, bias=step.bias)
    if isinstance(step, LayerNorm):
        return VectorNorm(step.dimension)
    return FirstValues(step.dimensions) if isinstance(step, Truncate) else UnitLength()


SPEC = Head(task="embedding", classes=(), build=_build, job_task="embedding")
