"""Grouped linear maps as oneDNN convolutions without any extent. Inference on the CPU only.

The tokens are an image of one row, each pixel's features together: nothing is taken apart or joined, and with
features last oneDNN reaches the speed of a plain product.
Shape suffixes: T tokens, D inputs and O outputs of all G groups, I inputs of a group.
"""

import torch
from torch import Tensor

# Padding, stride and dilation.
NO_EXTENT = ([0, 0], [1, 1], [1, 1])


def has_grouped_maps() -> bool:
    """Return whether this torch has oneDNN's convolutions with weights of the caller's layout."""
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return bool(available and hasattr(torch.ops.mkldnn, "_convolution_pointwise"))


def reordered(weight_OI: Tensor, groups: int, *, rows: int) -> Tensor:
    """Return the weights in oneDNN's order for this many rows; the result works for any number of rows."""
    outputs, inputs = weight_OI.shape
    weight_OI11 = weight_OI.view(outputs, inputs, 1, 1).contiguous(memory_format=torch.channels_last)
    shape = [1, groups * inputs, 1, rows]
    return torch.ops.mkldnn._reorder_convolution_weight(weight_OI11, *NO_EXTENT, groups, shape)  # type: ignore[no-any-return]


def grouped_map(
    x_TD: Tensor,
    weight: Tensor,
    bias_O: Tensor | None,
    groups: int,
    *,
    attribute: str = "none",
    algorithm: str = "",
) -> Tensor:
    """Return (T, O) from (T, D): each group's inputs times its weights, plain (O, I, 1, 1) or `reordered`.

    `attribute` and `algorithm` name an activation as oneDNN does.
    """
    y_1O1T = torch.ops.mkldnn._convolution_pointwise(
        x_TD[None, None].permute(0, 3, 1, 2), weight, bias_O, *NO_EXTENT, groups, attribute, [], algorithm
    )
    return y_1O1T.permute(0, 2, 3, 1).flatten(0, 2)  # type: ignore[no-any-return]
