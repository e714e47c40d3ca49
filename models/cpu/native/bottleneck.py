"""MobileBERT's layer on the kernels: one program before attention and one after it. Inference only.

Shape suffixes: T tokens, D width, B bottleneck width.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from corpusmill.models.architectures.mobilebert import MobileLayer
from corpusmill.models.cpu.native.maps import NativeMap
from corpusmill.models.cpu.native.program import Program
from corpusmill.models.gpu.records import Norm
from corpusmill.models.layers.blocks import AttentionOptions, FeedForward, attend_heads
from corpusmill.models.layers.norms import NormedLinear
from corpusmill.models.packed import PackedTokens


@dataclass(frozen=True, eq=False)
class NormedMap:
    """A map, and the norm after it where that was not folded into it."""

    map: NativeMap
    norm: Norm | None

    @classmethod
    def of(cls, part: nn.Module | None) -> Self | None:
        """Return the map on the kernels, or None if it or its norm is of another kind."""
        if not isinstance(part, NormedLinear) or not isinstance(part.linear, NativeMap):
            return None
        norm = Norm.of(part.norm)
        return cls(part.linear, norm) if norm is not None or isinstance(part.norm, nn.Identity) else None

    def add_to(
        self, program: Program, source: int, target: int, *, total: int, residual: int | None = None
    ) -> None:
        """Add the steps of the map; the input of a norm is written to `total`."""
        self.map.add_to(program, source, target if self.norm is None else total, residual=residual)
        if self.norm is not None:
            program.norm(self.norm, total, target)


@dataclass(frozen=True, eq=False)
class BottleneckParts:
    """A layer whose query and key share a bottleneck of their own."""

    entry: NormedMap
    shared_entry: NormedMap
    projections: tuple[NativeMap, NativeMap, NativeMap]
    output: NormedMap
    feed_forwards: tuple[tuple[NativeMap, NormedMap], ...]
    leave: NormedMap

    @classmethod
    def of(cls, layer: nn.Module) -> Self | None:
        """Return the layer's parts, if all are on the kernels."""
        if not isinstance(layer, MobileLayer):
            return None
        attention = layer.attention
        maps = [
            NormedMap.of(part) for part in (layer.entry, layer.shared_entry, attention.output, layer.leave)
        ]
        projections = [
            p for p in (attention.query, attention.key, attention.value) if isinstance(p, NativeMap)
        ]
        entry, shared_entry, output, leave = maps
        if entry is None or shared_entry is None or output is None or leave is None or len(projections) < 3:
            return None
        feed_forwards = []
        for part in (*layer.ffn, layer.last):
            assert isinstance(part, FeedForward)
            outer = NormedMap.of(part.outer)
            if not isinstance(part.inner, NativeMap) or outer is None:
                return None
            feed_forwards.append((part.inner, outer))
        query, key, value = projections
        return cls(entry, shared_entry, (query, key, value), output, tuple(feed_forwards), leave)


class NativeMobileLayer(nn.Module):
    """Into the bottleneck, query, key and value in one pass; attention; the rest in another."""

    def __init__(self, parts: BottleneckParts, *, heads: int, number: torch.dtype) -> None:
        super().__init__()
        self.heads = heads
        self.number = number
        self.width, self.narrow = parts.entry.map.inputs, parts.entry.map.outputs
        self._before, self._after = self._entry(parts), self._rest(parts)

    @classmethod
    def of(cls, layer: nn.Module, *, number: torch.dtype) -> Self | None:
        """Return the layer, if all of its maps are on the kernels; `number` is its rows' dtype."""
        parts = BottleneckParts.of(layer)
        if parts is None:
            return None
        assert isinstance(layer, MobileLayer)
        return cls(parts, heads=layer.attention.heads, number=number)

    def forward(self, x_TD: Tensor, packed: PackedTokens, options: AttentionOptions | None = None) -> Tensor:
        x_TB = torch.empty(len(x_TD), self.narrow, dtype=self.number)
        joint = torch.empty(len(x_TD), 3 * self.narrow, dtype=self.number)
        self._before.run(x_TD, x_TB, joint)
        q_TB, k_TB, v_TB = joint.chunk(3, dim=-1)
        y_TB = attend_heads(q_TB, k_TB, v_TB, packed, heads=self.heads, options=options)
        out_TD = torch.empty_like(x_TD)
        self._after.run(y_TB, x_TB, x_TD, out_TD)
        return out_TD

    def _entry(self, parts: BottleneckParts) -> Program:
        program, number = Program(), self.number
        x, entered, joint = (
            program.outer(number, each) for each in (self.width, self.narrow, 3 * self.narrow)
        )
        shared, total = program.inner(number, self.narrow), program.inner(torch.float32, self.narrow)
        parts.entry.add_to(program, x, entered, total=total)
        parts.shared_entry.add_to(program, x, shared, total=total)
        for place, (part, source) in enumerate(zip(parts.projections, (shared, shared, x), strict=True)):
            part.add_to(program, source, joint, column=place * self.narrow)
        return program

    def _rest(self, parts: BottleneckParts) -> Program:
        program, number = Program(), self.number
        y, entered = program.outer(number, self.narrow), program.outer(number, self.narrow)
        x, out = program.outer(number, self.width), program.outer(number, self.width)
        kept, total = program.inner(number, self.narrow), program.inner(torch.float32, self.narrow)
        wide = program.inner(torch.float32, self.width)
        hidden = program.inner(number, max(inner.outputs for inner, _ in parts.feed_forwards))
        parts.output.add_to(program, y, kept, total=total, residual=entered)
        for inner, outer in parts.feed_forwards:
            inner.add_to(program, kept, hidden)
            outer.add_to(program, hidden, kept, total=total, residual=kept)
        parts.leave.add_to(program, kept, out, total=wide, residual=x)
        return program
