"""Linear layers as single oneDNN calls on weights that were reordered once. Inference only: no parameters.

Shape suffixes: T tokens, D inputs and O outputs in all, G groups, I inputs of a group.
"""

from typing import Any

import torch
from torch import Tensor, nn

from corpusmill.models.blocks import GroupedLinear

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
# oneDNN's relu turns NaN into 0, which would hide a broken checkpoint. Between finite weights, and where the
# input is added to what becomes of it, NaN gets through beside it.
FUSED_BESIDE_A_RESIDUAL = FUSED | {"relu": ("relu", "")}
# Reordering takes a number of rows to lay the weights out for; any number works with the result.
ROWS = 2048
# Inputs up to which adding a residual inside the product is faster than a pass of its own.
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
    """A grouped linear map and the activation after it as one convolution without any extent.

    The tokens are an image of one row, each pixel's features together. Nothing is taken apart or joined, and
    with features last oneDNN reaches the speed of a plain product.
    """

    def __init__(self, linear: GroupedLinear, activation: str = "linear") -> None:
        super().__init__()
        groups, inputs, _ = linear.weight.shape
        self.groups = groups
        weight_OI11 = linear.weight.detach().transpose(1, 2).flatten(0, 1)[..., None, None]
        self.weight: Any = torch.ops.mkldnn._reorder_convolution_weight(
            weight_OI11.contiguous(memory_format=torch.channels_last),
            *NO_EXTENT,
            groups,
            [1, groups * inputs, 1, ROWS],
        )
        self.bias = linear.bias.detach()
        self.attribute, self.algorithm = FUSED_BESIDE_A_RESIDUAL[activation]

    def forward(self, x_TD: Tensor, residual_TO: Tensor | None = None) -> Tensor:
        y_1O1T = torch.ops.mkldnn._convolution_pointwise(
            x_TD[None, None].permute(0, 3, 1, 2),
            self.weight,
            self.bias,
            *NO_EXTENT,
            self.groups,
            self.attribute,
            [],
            self.algorithm,
        )
        y_TO: Tensor = y_1O1T.permute(0, 2, 3, 1).flatten(0, 2)
        return y_TO if residual_TO is None else y_TO.add_(residual_TO)


# Padding, stride and dilation.
NO_EXTENT = ([0, 0], [1, 1], [1, 1])
