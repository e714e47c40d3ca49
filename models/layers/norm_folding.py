"""Norms that only scale and shift, folded into the linear maps on either side of them.

MobileBERT's four feed-forward parts each add their result to their input, and then scale and shift the sum
feature by feature. Here the sum is kept unchanged. The next map that reads it gets weights that scale and
shift; the next map that adds to it gets weights that undo this. The result is exact but for rounding, which a
feature's factor does not change. Two matrix products remain of each part.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, Self, runtime_checkable

import torch
from torch import Tensor, nn

from corpusmill.models.layers.blocks import ActivatedLinear, FeedForward
from corpusmill.models.layers.norms import NormedLinear, ScaleAndShift

# A norm with a factor outside these bounds is kept: its inverse could overflow, and 0 has no inverse.
LEAST, LARGEST = 2.0**-40, 2.0**40


@runtime_checkable
class Folding(Protocol):
    """A module that can fold norms within itself, once its weights are there."""

    def fold_norms(self) -> None:
        """Change weights and remove norms; the function stays the same."""


@dataclass(frozen=True, eq=False)
class Affine:
    """The factors and addends that a kept sum needs, one per feature, in float64."""

    scale: Tensor
    shift: Tensor

    @classmethod
    def nothing(cls, like: Tensor) -> Self:
        """Return the record of a sum that needs no change."""
        ones = torch.ones_like(like, dtype=torch.float64)
        return cls(ones, torch.zeros_like(ones))


def fold_alone(part: NormedLinear) -> None:
    """Fold a norm into the map before it, where nothing is added between them."""
    if isinstance(part.norm, ScaleAndShift):
        scale, shift = part.norm.weight.double(), part.norm.bias.double()
        linear = _linear(part)
        _set(linear, linear.weight * scale[:, None], linear.bias * scale + shift)
        part.norm = nn.Identity()


def fold_chain(first: NormedLinear, parts: Iterable[nn.Module], last: NormedLinear) -> None:
    """Fold the norms along a sum: `first` begins it, the parts read it and add to it, `last` reads it."""
    if not isinstance(first.norm, ScaleAndShift):
        return
    kept = _fold_into(first, Affine.nothing(_linear(first).bias))
    for part in parts:
        assert isinstance(part, FeedForward)
        assert isinstance(part.inner, ActivatedLinear)
        assert isinstance(part.outer, NormedLinear)
        _read(part.inner.linear, kept)
        kept = _fold_into(part.outer, kept)
    _read(last.linear, kept)


def _read(reader: nn.Module, kept: Affine) -> None:
    """Let a map read the kept sum as if it were scaled and shifted."""
    assert isinstance(reader, nn.Linear)
    weight_OD = reader.weight.double()
    _set(reader, weight_OD * kept.scale, weight_OD @ kept.shift + reader.bias)


def _fold_into(part: NormedLinear, kept: Affine) -> Affine:
    """Let a map add to the kept sum as it is; return the factors and addends that are then left."""
    norm, linear = part.norm, _linear(part)
    assert isinstance(norm, ScaleAndShift)
    _set(linear, linear.weight / kept.scale[:, None], linear.bias / kept.scale)
    scale = norm.weight.double() * kept.scale
    shift = norm.weight.double() * kept.shift + norm.bias.double()
    if float(scale.abs().min()) >= LEAST and float(scale.abs().max()) <= LARGEST:
        part.norm = nn.Identity()
        return Affine(scale, shift)
    _set(norm, scale, shift)
    return Affine.nothing(scale)


def _linear(part: NormedLinear) -> nn.Linear:
    assert isinstance(part.linear, nn.Linear)
    return part.linear


def _set(module: nn.Linear | ScaleAndShift, weight: Tensor, bias: Tensor) -> None:
    dtype = module.weight.dtype
    module.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
    module.bias = nn.Parameter(bias.to(dtype), requires_grad=False)
