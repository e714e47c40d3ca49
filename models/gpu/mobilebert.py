"""A MobileBERT layer after its attention, as one step: its definition, and the check of its kernel.

All steps work on single tokens, on a narrow sum that stays on the chip for ten products.
Shape suffixes: T tokens, D width, B bottleneck width, I inner width of all feed-forward parts.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from corpusmill.models.errors import in_a_line
from corpusmill.models.gpu.records import Rest

RestOfLayer = Callable[[Tensor, Tensor, Tensor, Rest], Tensor]


def plain_rest_of_layer(y_TB: Tensor, kept_TB: Tensor, x_TD: Tensor, rest: Rest) -> Tensor:
    """Return the definition's result (T, D): sums in float32, inputs of products in the input's dtype."""
    dtype, narrow = y_TB.dtype, y_TB.shape[1]

    def product(read: Tensor, weight_OI: Tensor, bias_O: Tensor) -> Tensor:
        return F.linear(read.to(dtype).float(), weight_OI.float(), bias_O.float())

    sum_TB = kept_TB.float() + product(y_TB, rest.output, rest.output_bias)
    inner, outer = (each.view(rest.parts, -1, narrow) for each in (rest.inner, rest.outer))
    inner_biases, outer_biases = (each.view(rest.parts, -1) for each in (rest.inner_bias, rest.outer_bias))
    for into_IB, back_IB, inner_bias, outer_bias in zip(
        inner, outer, inner_biases, outer_biases, strict=True
    ):
        h_TI = product(sum_TB, into_IB, inner_bias).relu()
        sum_TB = sum_TB + product(h_TI, back_IB.T, outer_bias)
    left_TD = product(sum_TB, rest.leave, rest.leave_bias) + x_TD.float()
    return torch.addcmul(rest.addend.float(), left_TD, rest.factor.float()).to(dtype)


def bottleneck_disagreement(kernel: RestOfLayer, *, dtype: torch.dtype, device: torch.device) -> str | None:
    """Return what is wrong with a kernel on a device, found on a small batch; None if nothing is."""
    rest, inputs = example(dtype=dtype, device=device)
    try:
        found, wanted = (each(*inputs, rest).float() for each in (kernel, plain_rest_of_layer))
        torch.testing.assert_close(found, wanted, rtol=2e-2, atol=2e-2 * float(wanted.abs().max()))
    except Exception as error:
        return in_a_line(error)
    return None


def example(
    *, dtype: torch.dtype, device: torch.device, narrow: int = 32, width: int = 64, tokens: int = 37
) -> tuple[Rest, tuple[Tensor, Tensor, Tensor]]:
    """Return random weights of three feed-forward parts, and inputs for them."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).mul_(shape[-1] ** -0.5).to(device, dtype)

    weights = {"output": (narrow, narrow), "inner": (6 * narrow, narrow), "outer": (6 * narrow, narrow)}
    shapes = weights | {"leave": (width, narrow), "output_bias": (narrow,), "inner_bias": (6 * narrow,)}
    shapes |= {"outer_bias": (3 * narrow,), "leave_bias": (width,), "factor": (width,), "addend": (width,)}
    rest = Rest(3, **{name: draw(*shape) for name, shape in shapes.items()})
    return rest, (draw(tokens, narrow), draw(tokens, 4 * narrow)[:, :narrow], draw(tokens, width))
