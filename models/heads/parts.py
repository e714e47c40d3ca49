"""Parts of several heads: one vector per sequence, the modules of sentence-transformers, and scores of words.

Shape suffixes: T tokens of all sequences, P tokens to be scored, N sequences, D width, V vocabulary.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corpusmill.models.checkpoints.embedding_plan import Truncate
from corpusmill.models.checkpoints.sentence_modules import Dense, LayerNorm, VectorStep
from corpusmill.models.checkpoints.spec import HeadParts, Summary, WordHead
from corpusmill.models.layers.activations import Activation
from corpusmill.models.layers.blocks import ActivatedLinear
from corpusmill.models.ops.pooling import POOLINGS
from corpusmill.models.outputs import EncoderOutput
from corpusmill.models.packed import PackedTokens
from corpusmill.models.request import HeadTargets


class SequenceSummary(nn.Module):
    """One vector per sequence, (N, D)."""

    def __init__(self, summary: Summary, width: int) -> None:
        super().__init__()
        self.pool = POOLINGS[summary.pooling]
        self.map: nn.Module = (
            ActivatedLinear(width, width, summary.activation)
            if summary.linear
            else Activation(summary.activation)
        )

    def forward(self, states_TD: Tensor, packed: PackedTokens) -> Tensor:
        return self.map(self.pool(states_TD, packed))  # type: ignore[no-any-return]


# Modules of sentence-transformers.


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


class VectorModules(nn.Module):
    """A pooler or poolings, then projections and normalization, in float32 from the pooling on.

    `token_steps` change the states before the pooling, in float32 too.
    """

    def __init__(self, token_steps: list[nn.Module], pooler: nn.Module, steps: list[nn.Module]) -> None:
        super().__init__()
        self.token_steps = nn.ModuleList(token_steps)
        self.pooler = pooler
        self.steps = nn.ModuleList(steps)

    def vectors(self, encoded: EncoderOutput, packed: PackedTokens) -> Tensor:
        """Return one vector per sequence."""
        states_TD = encoded.last_hidden_state
        for step in self.token_steps:
            states_TD = step(states_TD.float())
        x_ND: Tensor = self.pooler(states_TD, packed).float()
        for step in self.steps:
            x_ND = step(x_ND)
        return x_ND


def vector_modules(parts: HeadParts) -> tuple[list[nn.Module], nn.Module, list[nn.Module]]:
    """Return the steps of tokens, the pooler and the steps of vectors."""
    plan = parts.embedding
    return (
        [vector_step(step) for step in plan.token_steps],
        _pretrained_pooler(parts) if plan.needs_pooler else TokenPoolings(plan.pooling),
        [vector_step(step) for step in plan.steps],
    )


def _pretrained_pooler(parts: HeadParts) -> nn.Module:
    pooler = parts.design.pooler
    assert pooler is not None, "planned for an architecture without a pooler"
    return SequenceSummary(pooler, parts.width)


def vector_step(step: VectorStep | Truncate) -> nn.Module:
    """Return the module of a step."""
    if isinstance(step, Dense) and step.residual:
        return ResidualProjection(step)
    if isinstance(step, Dense):
        return ActivatedLinear(step.in_features, step.out_features, step.activation, bias=step.bias)
    if isinstance(step, LayerNorm):
        return VectorNorm(step.dimension)
    return FirstValues(step.dimensions) if isinstance(step, Truncate) else UnitLength()


# Scores of words.


class WordScores(nn.Module):
    """One score per word for each token, (T, V)."""

    def __init__(self, words: WordHead, *, width: int, vocab_size: int) -> None:
        super().__init__()
        self.transform: nn.Module = ActivatedLinear(width, words.width, words.activation)
        self.norm = nn.LayerNorm(words.width, eps=words.eps)
        self.decoder = nn.Linear(words.tied_width, vocab_size)
        self.tied_width = words.tied_width
        rest = words.width - words.tied_width
        self.rest = nn.Linear(rest, vocab_size, bias=False) if rest else None

    def forward(self, states_TD: Tensor) -> Tensor:
        x_TD = self.norm(self.transform(states_TD))
        if self.rest is None:
            return self.decoder(x_TD)  # type: ignore[no-any-return]
        return self.decoder(x_TD[:, : self.tied_width]) + self.rest(x_TD[:, self.tied_width :])  # type: ignore[no-any-return]


def states_to_score(encoded: EncoderOutput, targets: HeadTargets) -> Tensor:
    """Return the states (P, D) of the tokens to score; of all tokens where none are named."""
    states_TD = encoded.last_hidden_state
    return states_TD if targets.scored_tokens is None else states_TD[targets.scored_tokens]
