"""Linear layers as single oneDNN calls on weights that were reordered once. Inference only: no parameters.

Shape suffixes: T tokens, D inputs and O outputs in all, I inputs of a group.
"""

from typing import Any

import torch
from torch import Tensor, nn

from corpusmill.models.layers.blocks import GroupedLinear
from corpusmill.models.ops.grouped import grouped_map, reordered

# Our activation names -> oneDNN's attribute and algorithm.
FUSED = {
    "linear": ("none", ""),
    "gelu": ("gelu", "none"),
    "gelu_python": ("gelu", "none"),
    "gelu_accurate": ("gelu", "tanh"),
    "gelu_fast": ("gelu", "tanh"),
    "gelu_new": ("gelu", "tanh"),
    "gelu_python_tanh": ("gelu", "tanh"),
    "gelu_pytorch_tanh": ("gelu", "tanh"),
    "sigmoid": ("sigmoid", ""),
    "tanh": ("tanh", ""),
}
# oneDNN's relu turns NaN into 0, which would hide a broken checkpoint. With finite weights and a residual,
# NaN still reaches the result.
FUSED_BESIDE_A_RESIDUAL = FUSED | {"relu": ("relu", "")}
# The number of rows for which weights are reordered; the result works with any number.
ROWS = 2048
# The most inputs with which adding a residual inside the product is faster than in a separate pass.
ADDING = 1024


class PrepackedLinear(nn.Module):
    """A linear map, and the activation or the residual after it, as one call."""

    def __init__(self, linear: nn.Linear, activation: str = "linear") -> None:
        super().__init__()
        self.weight: Any = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), ROWS)
        self.bias = None if linear.bias is None else linear.bias.detach()
        self.attribute, self.algorithm = FUSED_BESIDE_A_RESIDUAL[activation]
        self.adds = linear.in_features <= ADDING

    def forward(self, x_TD: Tensor, residual_TO: Tensor | None = None) -> Tensor:
        call = torch.ops.mkldnn._linear_pointwise
        if residual_TO is not None and self.adds:
            return call.binary(x_TD, residual_TO, self.weight, self.bias, "add")  # type: ignore[no-any-return]
        y_TO: Tensor = call(x_TD, self.weight, self.bias, self.attribute, [], self.algorithm)
        return y_TO if residual_TO is None else y_TO.add_(residual_TO)


class GroupedConvolution(nn.Module):
    """A grouped linear map and the activation after it as one convolution."""

    def __init__(self, linear: GroupedLinear, activation: str = "linear") -> None:
        super().__init__()
        self.groups = len(linear.weight)
        weight_OI = linear.weight.detach().transpose(1, 2).flatten(0, 1)
        self.weight: Any = reordered(weight_OI, self.groups, rows=ROWS)
        self.bias = linear.bias.detach()
        self.attribute, self.algorithm = FUSED_BESIDE_A_RESIDUAL[activation]

    def forward(self, x_TD: Tensor, residual_TO: Tensor | None = None) -> Tensor:
        fused = {"attribute": self.attribute, "algorithm": self.algorithm}
        y_TO = grouped_map(x_TD, self.weight, self.bias, self.groups, **fused)
        return y_TO if residual_TO is None else y_TO.add_(residual_TO)
