"""Norms and their replacement, alone and after a linear map.

Shape suffixes: T tokens, D width.
"""

import torch
from torch import Tensor, nn

from corpusmill.models.layers.blocks import Linear


class ScaleAndShift(nn.Module):
    """MobileBERT's NoNorm: one factor and one addend per feature."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))
        self.bias = nn.Parameter(torch.empty(width))

    def forward(self, x_TD: Tensor) -> Tensor:
        return torch.addcmul(self.bias, x_TD, self.weight)


class NormedLinear(nn.Module):
    """A linear map, then (with what came before it added) a norm."""

    def __init__(self, in_features: int, out_features: int, norm: nn.Module) -> None:
        super().__init__()
        self.linear: nn.Module = Linear(in_features, out_features)
        self.norm = norm

    def forward(self, x_TD: Tensor, residual_TD: Tensor | None = None) -> Tensor:
        return self.norm(self.linear(x_TD, residual_TD))  # type: ignore[no-any-return]


def make_norm(kind: str, width: int, eps: float) -> nn.Module:
    """Return the norm that a MobileBERT config calls "no_norm" or "layer_norm"; the former ignores eps."""
    return ScaleAndShift(width) if kind == "no_norm" else nn.LayerNorm(width, eps=eps)
