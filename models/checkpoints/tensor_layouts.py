"""Parameters that a checkpoint stores in another shape than the model's.

Shape suffixes: G groups, I inputs and O outputs of a group, K kernel size, D width.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

Shape = tuple[int, ...]


@dataclass(frozen=True)
class TensorLayout:
    """`stored` returns the checkpoint's shape of our parameter; `ours` reshapes its tensor to our shape."""

    stored: Callable[[Shape], Shape]
    ours: Callable[[Tensor, Shape], Tensor]


def _convolution_shape(ours: Shape) -> Shape:
    """Return the shape of a linear map, (O, I) or (G, I, O), as a convolution of size 1: (G * O, I, 1)."""
    if len(ours) == 2:
        return (*ours, 1)
    groups, inputs, outputs = ours
    return (groups * outputs, inputs, 1)


def _from_convolution(tensor: Tensor, ours: Shape) -> Tensor:
    if len(ours) == 2:
        return tensor.reshape(ours)
    groups, inputs, outputs = ours
    return tensor.reshape(groups, outputs, inputs).transpose(1, 2).contiguous()


def _from_depthwise(tensor_D1K: Tensor, ours: Shape) -> Tensor:
    return tensor_D1K.squeeze(1).T.contiguous().reshape(ours)


AS_STORED = TensorLayout(stored=lambda ours: ours, ours=lambda tensor, _: tensor)
TRANSPOSED = TensorLayout(stored=lambda ours: ours[::-1], ours=lambda tensor, _: tensor.T.contiguous())
CONVOLUTION = TensorLayout(stored=_convolution_shape, ours=_from_convolution)
DEPTHWISE = TensorLayout(stored=lambda ours: (ours[1], 1, ours[0]), ours=_from_depthwise)
COLUMN = TensorLayout(stored=lambda ours: (*ours, 1), ours=lambda tensor, ours: tensor.reshape(ours))
