"""The records that layers and kernels read: a norm, rows of a table, and the rest of a MobileBERT layer.

Shape suffixes: T tokens, D width, B bottleneck width, I ids, or the inner width of all feed-forward parts.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corpusmill.models.layers.norms import ScaleAndShift


@dataclass(frozen=True, eq=False)
class Norm:
    """Factors and addends (D,) of a norm; `eps` None for one that only scales and shifts."""

    weight: Tensor
    bias: Tensor
    eps: float | None

    def over(self, x_TD: Tensor) -> Tensor:
        """Return the norm of values in float32."""
        weight_D, shift_D = self.weight.float(), self.bias.float()
        if self.eps is None:
            return torch.addcmul(shift_D, x_TD, weight_D)
        return F.layer_norm(x_TD, weight_D.shape, weight_D, shift_D, self.eps)

    @classmethod
    def of(cls, module: nn.Module) -> "Norm | None":
        """Return the norm that a module is, or None for another module."""
        if isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1:
            return cls(module.weight.detach(), module.bias.detach(), module.eps)
        if isinstance(module, ScaleAndShift):
            return cls(module.weight.detach(), module.bias.detach(), None)
        return None


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of a table (I, D) by ids (T,); without ids, all rows in order, (T, D)."""

    table: Tensor
    ids: Tensor | None = None

    def looked_up(self) -> Tensor:
        """Return the rows, in float32."""
        return (self.table if self.ids is None else F.embedding(self.ids, self.table)).float()


class Rest(nn.Module):
    """The weights of a layer after its attention, each (outputs, inputs) but `outer`.

    `inner` and `outer` are (I, B): those of all feed-forward parts one after another, as are `inner_bias`
    (I,) and `outer_bias` (parts * B,). The norm at the end multiplies by `factor` and adds `addend`, (D,).
    """

    output: Tensor
    output_bias: Tensor
    inner: Tensor
    inner_bias: Tensor
    outer: Tensor
    outer_bias: Tensor
    leave: Tensor
    leave_bias: Tensor
    factor: Tensor
    addend: Tensor

    def __init__(self, parts: int, **weights: Tensor) -> None:
        super().__init__()
        self.parts = parts
        for name, weight in weights.items():
            self.register_parameter(name, nn.Parameter(weight.contiguous(), requires_grad=False))
