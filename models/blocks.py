"""The parts that architectures are composed from. They take sizes and sub-modules, never a config.

Shape suffixes: T tokens of all sequences, D width, F inner width, H heads, d head width.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from corpusmill.models.activations import Activation
from corpusmill.models.ops.attention import attend, attend_with_probabilities
from corpusmill.models.outputs import Encoded
from corpusmill.models.packed import PackedTokens

Probabilities = list[tuple[Tensor, ...]]


class TokenEmbeddings(nn.Module):
    """Word + position (+ token type) vectors, normalized; `token_types=0` for models without them."""

    def __init__(self, *, vocab_size: int, width: int, positions: int, token_types: int, eps: float) -> None:
        super().__init__()
        self.words = nn.Embedding(vocab_size, width)
        self.positions = nn.Embedding(positions, width)
        self.token_types = nn.Embedding(token_types, width) if token_types else None
        self.norm = nn.LayerNorm(width, eps=eps)

    def forward(self, packed: PackedTokens, position_ids: Tensor) -> Tensor:
        x_TD = self.words(packed.input_ids)
        if self.token_types is not None:
            types_T = packed.token_types
            x_TD = x_TD + self.token_types(torch.zeros_like(packed.input_ids) if types_T is None else types_T)
        return self.norm(x_TD + self.positions(position_ids))  # type: ignore[no-any-return]


class Projections(nn.Module):
    """Query, key and value as a checkpoint stores them: three matrices."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, inner)
        self.key = nn.Linear(width, inner)
        self.value = nn.Linear(width, inner)

    def forward(self, x_TD: Tensor) -> tuple[Tensor, ...]:
        return self.query(x_TD), self.key(x_TD), self.value(x_TD)


class SelfAttention(nn.Module):
    """Multi-head attention inside each sequence."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.projections: nn.Module = Projections(width, width)
        self.output = nn.Linear(width, width)

    def forward(
        self, x_TD: Tensor, packed: PackedTokens, probabilities: Probabilities | None = None
    ) -> Tensor:
        q_THd, k_THd, v_THd = (y_TD.unflatten(-1, (self.heads, -1)) for y_TD in self.projections(x_TD))
        if probabilities is None:
            y_THd = attend(q_THd, k_THd, v_THd, packed)
        else:
            y_THd, layer_probabilities = attend_with_probabilities(q_THd, k_THd, v_THd, packed)
            probabilities.append(layer_probabilities)
        return self.output(y_THd.flatten(1))  # type: ignore[no-any-return]


class ActivatedLinear(nn.Module):
    """A linear map and the activation after it, kept together so that they can be fused."""

    def __init__(self, width: int, inner: int, activation: str, *, bias: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(width, inner, bias=bias)
        self.activation = Activation(activation)

    def forward(self, x_TD: Tensor) -> Tensor:
        return self.activation(self.linear(x_TD))  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """Width to inner width and back, with an activation between."""

    def __init__(self, width: int, inner: int, activation: str) -> None:
        super().__init__()
        self.inner: nn.Module = ActivatedLinear(width, inner, activation)
        self.outer = nn.Linear(inner, width)

    def forward(self, x_TD: Tensor) -> Tensor:
        return self.outer(self.inner(x_TD))  # type: ignore[no-any-return]


class PostNormLayer(nn.Module):
    """The original transformer layer: each part's output is added to its input, then normalized."""

    def __init__(self, *, attention: nn.Module, feed_forward: nn.Module, width: int, eps: float) -> None:
        super().__init__()
        self.attention = attention
        self.attention_norm = nn.LayerNorm(width, eps=eps)
        self.feed_forward = feed_forward
        self.feed_forward_norm = nn.LayerNorm(width, eps=eps)

    def forward(
        self, x_TD: Tensor, packed: PackedTokens, probabilities: Probabilities | None = None
    ) -> Tensor:
        x_TD = self.attention_norm(x_TD + self.attention(x_TD, packed, probabilities))
        return self.feed_forward_norm(x_TD + self.feed_forward(x_TD))  # type: ignore[no-any-return]


class Stack(nn.ModuleList):
    """Layers one after another, remembering on request what passes between them."""

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__(layers)

    def forward(
        self, x_TD: Tensor, packed: PackedTokens, *, hidden_states: bool, attentions: bool
    ) -> Encoded:
        states = [x_TD]
        probabilities: Probabilities | None = [] if attentions else None
        for layer in self:
            x_TD = layer(x_TD, packed, probabilities)
            if hidden_states:
                states.append(x_TD)
        return Encoded(
            last_hidden_state=x_TD,
            hidden_states=tuple(states) if hidden_states else None,
            attentions=None if probabilities is None else tuple(probabilities),
        )
