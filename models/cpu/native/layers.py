"""The original transformer layer on the kernels: attention, and all later steps as one program.

Sums that go into a norm stay in float32. Inference only.
Shape suffixes: T tokens, D width.
"""

from typing import Protocol, Self, cast

import torch
from torch import Tensor, nn

from corpusmill.models.cpu.native.maps import NativeMap
from corpusmill.models.cpu.native.program import Program
from corpusmill.models.gpu.records import Norm
from corpusmill.models.layers.blocks import AttentionOptions, FeedForward, PostNormLayer
from corpusmill.models.packed import PackedTokens


class AttentionBeforeOutput(Protocol):
    """An attention whose last map is run by its layer."""

    def attended(self, x_TD: Tensor, packed: PackedTokens, options: AttentionOptions | None) -> Tensor:
        """Return the input of the attention's last map."""


class NativePostNormLayer(nn.Module):
    """Attention, and its last map, norm, feed-forward part and second norm in one pass over the rows."""

    def __init__(
        self,
        attention: nn.Module,
        maps: tuple[NativeMap, NativeMap, NativeMap],
        norms: tuple[Norm, Norm],
        *,
        number: torch.dtype,
    ) -> None:
        super().__init__()
        self.attention = attention
        self.maps = nn.ModuleList(maps)
        self._parts = maps, norms
        self.number = number
        self._programs: dict[torch.dtype, Program] = {}

    @classmethod
    def of(cls, layer: nn.Module, *, number: torch.dtype) -> Self | None:
        """Return the layer if all maps after attention are on the kernels; `number` is its rows' dtype."""
        if not isinstance(layer, PostNormLayer) or not isinstance(layer.feed_forward, FeedForward):
            return None
        if not hasattr(layer.attention, "attended"):
            return None
        feed_forward = layer.feed_forward
        parts = (layer.attention.output, feed_forward.inner, feed_forward.outer)
        maps = [part for part in parts if isinstance(part, NativeMap)]
        first, second = Norm.of(layer.attention_norm), Norm.of(layer.feed_forward_norm)
        if len(maps) < len(parts) or first is None or second is None:
            return None
        return cls(layer.attention, (maps[0], maps[1], maps[2]), (first, second), number=number)

    def forward(self, x_TD: Tensor, packed: PackedTokens, options: AttentionOptions | None = None) -> Tensor:
        y_TD = cast(AttentionBeforeOutput, self.attention).attended(x_TD, packed, options)
        program = self._programs.get(y_TD.dtype)
        if program is None:
            program = self._programs[y_TD.dtype] = self._program(y_TD.dtype)
        out_TD = torch.empty_like(x_TD)
        program.run(y_TD, x_TD, out_TD)
        return out_TD

    def _program(self, attended: torch.dtype) -> Program:
        ((output, inner, outer), (first, second)), number = self._parts, self.number
        width = output.outputs
        program = Program()
        y = program.outer(attended, output.inputs)
        x, out = program.outer(number, width), program.outer(number, width)
        total, normed = program.inner(torch.float32, width), program.inner(number, width)
        hidden = program.inner(inner.result, inner.outputs)
        output.add_to(program, y, total, residual=x)
        program.norm(first, total, normed)
        inner.add_to(program, normed, hidden)
        outer.add_to(program, hidden, total, residual=normed)
        program.norm(second, total, out)
        return program
