"""The parts of architectures. They take sizes and sub-modules, never a config.

Shape suffixes: T tokens of all sequences, D width, E word-vector width, H heads, d head width, G groups,
I inputs and O outputs of a group.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn

from corpusmill.models.layers.activations import Activation
from corpusmill.models.ops.attention import attend_with_scores
from corpusmill.models.ops.choose import attend
from corpusmill.models.outputs import EncoderOutput
from corpusmill.models.packed import PackedTokens
from corpusmill.models.request import EncoderRequest


class TokenEmbeddings(nn.Module):
    """Word + position (+ token type) vectors, normalized, and projected where layers have another width.

    `token_types=0` is for models without them.
    """

    def __init__(
        self,
        *,
        vocab_size: int,
        width: int,
        positions: int,
        token_types: int,
        eps: float,
        project_to: int | None = None,
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(vocab_size, width)
        self.positions = nn.Embedding(positions, width)
        self.token_types = nn.Embedding(token_types, width) if token_types else None
        self.norm = nn.LayerNorm(width, eps=eps)
        self.projection = nn.Linear(width, project_to) if project_to else None

    def forward(self, packed: PackedTokens, inputs_embeds: Tensor | None = None) -> Tensor:
        x_TE = self.words(packed.input_ids) if inputs_embeds is None else inputs_embeds
        if self.token_types is not None:
            x_TE = x_TE + self.token_types(types_of(packed))
        x_TE = self.norm(x_TE + self.positions(packed.position_ids))
        return x_TE if self.projection is None else self.projection(x_TE)  # type: ignore[no-any-return]


def types_of(packed: PackedTokens) -> Tensor:
    """Return the token types; 0 for every token if none are given."""
    return torch.zeros_like(packed.input_ids) if packed.token_types is None else packed.token_types


class Linear(nn.Linear):
    """A linear map with an optional residual, so that both can be one step."""

    def forward(self, x_TD: Tensor, residual_TO: Tensor | None = None) -> Tensor:
        return added(super().forward(x_TD), residual_TO)


def added(y_TO: Tensor, residual_TO: Tensor | None) -> Tensor:
    """Return the sum, or the first tensor if there is no residual."""
    return y_TO if residual_TO is None else y_TO + residual_TO


class GroupedLinear(nn.Module):
    """A linear map of independent groups of inputs and outputs."""

    def __init__(self, in_features: int, out_features: int, groups: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(groups, in_features // groups, out_features // groups))
        self.bias = nn.Parameter(torch.empty(out_features))

    def forward(self, x_TD: Tensor, residual_TO: Tensor | None = None) -> Tensor:
        groups = len(self.weight)
        x_GTI = x_TD.view(len(x_TD), groups, -1).transpose(0, 1)
        y_GTO = torch.baddbmm(self.bias.view(groups, 1, -1), x_GTI, self.weight)
        return added(y_GTO.transpose(0, 1).flatten(1), residual_TO)


def linear(in_features: int, out_features: int, *, groups: int = 1) -> nn.Module:
    """Return a linear map, in groups or not."""
    if groups == 1:
        return Linear(in_features, out_features)
    return GroupedLinear(in_features, out_features, groups)


class Projections(nn.Module):
    """Query, key and value as a checkpoint stores them: three matrices."""

    def __init__(self, width: int, inner: int, *, groups: tuple[int, int, int] = (1, 1, 1)) -> None:
        super().__init__()
        self.query = linear(width, inner, groups=groups[0])
        self.key = linear(width, inner, groups=groups[1])
        self.value = linear(width, inner, groups=groups[2])

    def forward(self, x_TD: Tensor) -> tuple[Tensor, ...]:
        return self.query(x_TD), self.key(x_TD), self.value(x_TD)


@dataclass(frozen=True, eq=False)
class AttentionOptions:
    """Options for one layer's attention: a factor per head (H,), and a list that keeps attentions."""

    head_factors: Tensor | None
    kept: list[tuple[Tensor, ...]] | None


def attend_heads(
    q_TD: Tensor,
    k_TD: Tensor,
    v_TD: Tensor,
    packed: PackedTokens,
    *,
    heads: int,
    options: AttentionOptions | None,
    keep_scores: bool = False,
) -> Tensor:
    """Return multi-head attention inside each sequence; `options` can keep probabilities or scores."""
    q_THd, k_THd, v_THd = (x_TD.view(len(x_TD), heads, -1) for x_TD in (q_TD, k_TD, v_TD))
    if options is None:
        return attend(q_THd, k_THd, v_THd, packed).flatten(1)
    if options.kept is None:
        y_THd = attend(q_THd, k_THd, v_THd, packed)
    else:
        y_THd, scores = attend_with_scores(q_THd, k_THd, v_THd, packed)
        options.kept.append(scores if keep_scores else tuple(_scaled(s.softmax(-1), options) for s in scores))
    return (y_THd if options.head_factors is None else y_THd * options.head_factors[:, None]).flatten(1)


def _scaled(p_HLL: Tensor, options: AttentionOptions) -> Tensor:
    return p_HLL if options.head_factors is None else p_HLL * options.head_factors[:, None, None]


class SelfAttention(nn.Module):
    """Multi-head attention inside each sequence, added to its input.

    `groups` are those of query, key, value and output.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        groups: tuple[int, int, int, int] = (1, 1, 1, 1),
        keep_scores: bool = False,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.keep_scores = keep_scores
        self.projections: nn.Module = Projections(width, width, groups=groups[:3])
        self.output = linear(width, width, groups=groups[3])

    def forward(self, x_TD: Tensor, packed: PackedTokens, options: AttentionOptions | None = None) -> Tensor:
        return self.output(self.attended(x_TD, packed, options), x_TD)  # type: ignore[no-any-return]

    def attended(self, x_TD: Tensor, packed: PackedTokens, options: AttentionOptions | None) -> Tensor:
        """Return the results of the heads side by side, which the last map reads."""
        q_TD, k_TD, v_TD = self.projections(x_TD)
        return attend_heads(
            q_TD, k_TD, v_TD, packed, heads=self.heads, options=options, keep_scores=self.keep_scores
        )


class ActivatedLinear(nn.Module):
    """A linear map and the activation after it, kept together so that they can be fused."""

    def __init__(
        self, width: int, inner: int, activation: str, *, bias: bool = True, groups: int = 1
    ) -> None:
        super().__init__()
        self.linear = (
            nn.Linear(width, inner, bias=bias) if groups == 1 else linear(width, inner, groups=groups)
        )
        self.activation = Activation(activation)

    def forward(self, x_TD: Tensor) -> Tensor:
        return self.activation(self.linear(x_TD))  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """Width to inner width and back, with an activation between, added to its input.

    `outer` stands in for the map back, and adds its second argument.
    """

    def __init__(
        self,
        width: int,
        inner: int,
        activation: str,
        *,
        groups: tuple[int, int] = (1, 1),
        outer: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.inner: nn.Module = ActivatedLinear(width, inner, activation, groups=groups[0])
        self.outer = linear(inner, width, groups=groups[1]) if outer is None else outer

    def forward(self, x_TD: Tensor) -> Tensor:
        return self.outer(self.inner(x_TD), x_TD)  # type: ignore[no-any-return]


class PostNormLayer(nn.Module):
    """The original transformer layer: each part adds its output to its input, which is then normalized."""

    def __init__(self, *, attention: nn.Module, feed_forward: nn.Module, width: int, eps: float) -> None:
        super().__init__()
        self.attention = attention
        self.attention_norm = nn.LayerNorm(width, eps=eps)
        self.feed_forward = feed_forward
        self.feed_forward_norm = nn.LayerNorm(width, eps=eps)

    def forward(self, x_TD: Tensor, packed: PackedTokens, options: AttentionOptions | None = None) -> Tensor:
        x_TD = self.attention_norm(self.attention(x_TD, packed, options))
        return self.feed_forward_norm(self.feed_forward(x_TD))  # type: ignore[no-any-return]


class Stack(nn.ModuleList):
    """Layers in sequence, all or the first ones; on request it keeps the states between them."""

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__(layers)

    def forward(self, x_TD: Tensor, packed: PackedTokens, request: EncoderRequest) -> EncoderOutput:
        states = [x_TD]
        kept: list[tuple[Tensor, ...]] | None = [] if request.attentions else None
        for index, layer in enumerate(islice(self, request.layers)):
            x_TD = layer(x_TD, packed, _attention_options(request, index, kept))
            if request.hidden_states:
                states.append(x_TD)
        return EncoderOutput(
            last_hidden_state=x_TD,
            hidden_states=tuple(states) if request.hidden_states else None,
            attentions=None if kept is None else tuple(kept),
        )


def _attention_options(
    request: EncoderRequest, layer: int, kept: list[tuple[Tensor, ...]] | None
) -> AttentionOptions | None:
    if request.head_mask is None and kept is None:
        return None
    return AttentionOptions(None if request.head_mask is None else request.head_mask[layer], kept)
