"""Linear layers on 8-bit integers: symmetric weights by output feature, asymmetric activations by token.

A token's scale and offset come from its own values, so that neighbours cannot change its result, and integer
sums are exact in any order. oneDNN multiplies unsigned bytes (signed ones take its slow reference path), and
torch's row-wise quantizer for embeddings makes them in one pass.
Shape suffixes: T tokens of all sequences, B tokens of a block, D inputs, O outputs.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from corpusmill.models.errors import TensorError
from corpusmill.models.layers.activations import ACTIVATIONS

# The quantizer writes a row's scale and offset (two float32) behind its bytes; weights are 0 there.
TAIL = 8
# Numbers in a thread's block, 2 MB in float32: larger blocks do not fit into the cache, in smaller ones the
# calls dominate.
BLOCK = 1 << 19
# Narrower maps cost more to quantize than their products save; the tail must be aligned for a float32.
NARROWEST, ALIGNED = 64, 4
# Relative error of a weight matrix beyond which it stays in floating point. Bell-shaped rows have 0.8 %; rows
# with a few large weights lose the small ones.
LARGEST_ERROR = 0.03

# Result scale and zero point, dtype, and no operation after the product.
PLAIN_RESULT: tuple[Any, ...] = (1.0, 0, torch.float32, "none", [], "")


@dataclass(frozen=True, eq=False)
class QuantizedWeight:
    """A matrix (O, D) as `values`, -127 to 127 in int8, times `scale` (O, 1).

    `error` is the sum of the roundings' sizes, relative to that of the weights. Sums of squares would let a
    few large weights hide the errors of the others.
    """

    values: Tensor
    scale: Tensor
    error: float


class _Blocked(nn.Module):
    """A layer that works on blocks of tokens, whose intermediate values stay in the cache."""

    def __init__(self, *, outputs: int, widest: int, result: torch.dtype) -> None:
        super().__init__()
        self.outputs = outputs
        self.widest = widest
        self.result = result

    def forward(self, x_TD: Tensor, residual_TO: Tensor | None = None) -> Tensor:
        y_TO = torch.empty(len(x_TD), self.outputs, dtype=self.result)
        step = max(1, torch.get_num_threads() * BLOCK // self.widest)
        for rows in (slice(start, start + step) for start in range(0, len(x_TD), step)):
            y_BO = self.block(x_TD[rows])
            if residual_TO is None:
                y_TO[rows] = y_BO
            else:
                torch.add(y_BO, residual_TO[rows], out=y_TO[rows])
        return y_TO

    def block(self, x_BD: Tensor) -> Tensor:
        """Return the result for a few tokens, in float32."""
        raise NotImplementedError


class QuantizedLinear(_Blocked):
    """A linear map, and the activation after it, with float32 or bfloat16 on either side."""

    def __init__(
        self, weight: QuantizedWeight, bias_O: Tensor | None, *, activation: str, result: torch.dtype
    ) -> None:
        outputs, inputs = weight.values.shape
        super().__init__(outputs=outputs, widest=max(outputs, inputs), result=result)
        padded = nn.functional.pad(weight.values, (0, TAIL))
        self.weight: Any = torch.ops.onednn.qlinear_prepack(padded, None)
        self.scale_O = weight.scale.flatten()
        self.zero_O = torch.zeros(outputs, dtype=torch.int32)
        # The change of the outputs by an offset of 1.
        self.sums_1O = (weight.values.sum(1, dtype=torch.float32) * self.scale_O)[None]
        self.bias_O = bias_O
        self.activation = None if activation == "linear" else ACTIVATIONS[activation]

    def block(self, x_BD: Tensor) -> Tensor:
        """Return the result for a few tokens, in float32."""
        bytes_BD = as_bytes(x_BD)
        tail_B2 = bytes_BD[:, -TAIL:].view(torch.float32)
        y_BO = self.product(bytes_BD)
        scale_B1, offset_B1 = tail_B2[:, :1], tail_B2[:, 1:]
        # Two passes over the outputs, the fewest that torch offers.
        if self.bias_O is None:
            y_BO.mul_(scale_B1)
        else:
            torch.addcmul(self.bias_O, y_BO, scale_B1, out=y_BO)
        y_BO.addcmul_(offset_B1, self.sums_1O)
        return y_BO if self.activation is None else self.activation(y_BO)

    def product(self, bytes_BD: Tensor) -> Tensor:
        """Return the bytes (B, D + TAIL) times the weights and their scales, in float32."""
        weight = (self.weight, self.scale_O, self.zero_O)
        return torch.ops.onednn.qlinear_pointwise(bytes_BD, 1.0, 0, *weight, None, *PLAIN_RESULT)  # type: ignore[no-any-return]


def as_bytes(x_BD: Tensor) -> Tensor:
    """Return each token as bytes between its least and greatest value, followed by its scale and offset."""
    return torch.ops.quantized.embedding_bag_byte_prepack(x_BD.float().contiguous())  # type: ignore[no-any-return]


class QuantizedPair(_Blocked):
    """Two successive layers, block by block, so that the wide result between them stays in the cache."""

    def __init__(self, inner: QuantizedLinear, outer: QuantizedLinear) -> None:
        widest = max(inner.widest, outer.widest)
        super().__init__(outputs=outer.outputs, widest=widest, result=outer.result)
        self.inner = inner
        self.outer = outer

    def block(self, x_BD: Tensor) -> Tensor:
        """Return the result for a few tokens, in float32."""
        return self.outer.block(self.inner.block(x_BD))


def has_int8_products() -> bool:
    """Return whether oneDNN multiplies bytes exactly; without VNNI it adds pairs in 16 bits and overflows."""
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return bool(available and torch.cpu._is_vnni_supported())


def quantize(weight_OD: Tensor) -> QuantizedWeight:
    """Round each row to whole steps from -127 to 127, where 127 is its largest weight's size.

    Raises TensorError for NaN and infinities, which integers would hide.
    """
    if not weight_OD.isfinite().all():
        raise TensorError("int8: expected finite weights, got NaN or infinity in a linear layer; use float32")
    largest_O1 = weight_OD.abs().amax(1, keepdim=True)
    scale_O1 = torch.where(largest_O1 > 0, largest_O1 / 127, 1.0)
    values_OD = (weight_OD / scale_O1).round().to(torch.int8)
    lost = (values_OD * scale_O1 - weight_OD).abs().sum()
    return QuantizedWeight(values_OD, scale_O1, error=float(lost / weight_OD.abs().sum()))


def worth_quantizing(linear: nn.Linear) -> QuantizedWeight | None:
    """Return a map's weights in 8 bits, or None if that would cost time or accuracy.

    Raises TensorError for weights and biases that are not finite.
    """
    if min(linear.weight.shape) < NARROWEST or linear.in_features % ALIGNED:
        return None
    weight, bias = quantize(linear.weight.detach()), linear.bias
    if weight.error > LARGEST_ERROR:
        return None
    if bias is not None and not bias.isfinite().all():
        raise TensorError("int8: expected finite weights, got NaN or infinity in a bias; use float32")
    return weight


def quantized_linear(
    linear: nn.Linear, activation: str = "linear", *, result: torch.dtype = torch.float32
) -> QuantizedLinear | None:
    """Return the layer in 8 bits, or None if that would cost time or accuracy."""
    weight = worth_quantizing(linear)
    if weight is None:
        return None
    return QuantizedLinear(weight, linear.bias, activation=activation, result=result)
