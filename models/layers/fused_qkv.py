"""Query, key and value as one map, and the replacement of modules by equivalent ones.

Shape suffixes: T tokens, D width.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from corpusmill.models.layers.blocks import Linear, Projections


class FusedQKV(nn.Module):
    """Query, key and value in one matrix product."""

    def __init__(self, fused: nn.Module) -> None:
        super().__init__()
        self.fused = fused

    def forward(self, x_TD: Tensor) -> tuple[Tensor, ...]:
        return self.fused(x_TD).chunk(3, dim=-1)  # type: ignore[no-any-return]


def replace_modules(module: nn.Module, replacement_of: Callable[[nn.Module], nn.Module | None]) -> None:
    """Replace every module below that has a replacement; look inside the others."""
    for name, child in module.named_children():
        replacement = replacement_of(child)
        if replacement is None:
            replace_modules(child, replacement_of)
        else:
            setattr(module, name, replacement)


def fuse_qkv(module: nn.Module) -> FusedQKV | None:
    """Return three plain maps of one input as one map; None for another module."""
    if not isinstance(module, Projections):
        return None
    parts = [each for each in (module.query, module.key, module.value) if isinstance(each, nn.Linear)]
    if len(parts) < 3 or any(type(part) not in (nn.Linear, Linear) for part in parts):
        return None
    fused = nn.Linear(parts[0].in_features, sum(part.out_features for part in parts), device="meta")
    fused.weight = nn.Parameter(torch.cat([part.weight for part in parts]), requires_grad=False)
    fused.bias = nn.Parameter(torch.cat([part.bias for part in parts]), requires_grad=False)
    return FusedQKV(fused)
