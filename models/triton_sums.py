"""The kernels of `fused.py` in Triton. Imported only where there are a GPU and Triton.

A program takes some rows whole: a row is read once and written once, sums and norms are in float32.
Shape suffixes: T tokens, D width.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from corpusmill.models.fused import Norm

# Values that a program holds of one tensor.
VALUES = 2048


class TritonSums:
    """`FusedKernels` for a GPU."""

    def normed_sum(self, y_TD: Tensor, bias_D: Tensor, residual_TD: Tensor | None, norm: Norm) -> Tensor:
        """The norm of y + bias (+ residual), (T, D)."""
        y_TD = y_TD.contiguous()
        tokens, width = y_TD.shape
        out_TD = torch.empty_like(y_TD)
        columns = triton.next_power_of_2(width)
        rows = max(1, VALUES // columns)
        if tokens:
            _normed_sum[(triton.cdiv(tokens, rows),)](
                y_TD,
                bias_D,
                y_TD if residual_TD is None else residual_TD.contiguous(),
                norm.weight,
                norm.bias,
                out_TD,
                tokens,
                width,
                0.0 if norm.eps is None else norm.eps,
                HAS_RESIDUAL=residual_TD is not None,
                NORMALIZES=norm.eps is not None,
                ROWS=rows,
                COLUMNS=columns,
            )
        return out_TD

    def biased_gelu(self, y_TD: Tensor, bias_D: Tensor) -> Tensor:
        """GELU of y + bias, by the error function, written over y."""
        assert y_TD.is_contiguous()
        size, width = y_TD.numel(), y_TD.shape[-1]
        if size:
            _biased_gelu[(triton.cdiv(size, VALUES),)](y_TD, bias_D, size, width, BLOCK=VALUES)
        return y_TD


# Triton takes the kernels' own annotations for names it has to know, unless they are strings.
def _normed_sum_source(
    y_ptr: "Any",
    bias_ptr: "Any",
    residual_ptr: "Any",
    weight_ptr: "Any",
    shift_ptr: "Any",
    out_ptr: "Any",
    tokens: "Any",
    width: "Any",
    eps: "Any",
    HAS_RESIDUAL: tl.constexpr,
    NORMALIZES: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.arange(0, COLUMNS)[None, :]
    at = row * width + column
    used = column < width
    inside = used & (row < tokens)
    x = tl.load(y_ptr + at, mask=inside, other=0.0).to(tl.float32)
    x += tl.load(bias_ptr + column, mask=used, other=0.0).to(tl.float32)
    if HAS_RESIDUAL:
        x += tl.load(residual_ptr + at, mask=inside, other=0.0).to(tl.float32)
    if NORMALIZES:
        mean = tl.sum(x, axis=1)[:, None] / width
        x = tl.where(used, x - mean, 0.0)
        variance = tl.sum(x * x, axis=1)[:, None] / width
        x = x / tl.sqrt(variance + eps)
    weight = tl.load(weight_ptr + column, mask=used, other=0.0).to(tl.float32)
    shift = tl.load(shift_ptr + column, mask=used, other=0.0).to(tl.float32)
    tl.store(out_ptr + at, (x * weight + shift).to(out_ptr.dtype.element_ty), mask=inside)


def _biased_gelu_source(
    y_ptr: "Any", bias_ptr: "Any", size: "Any", width: "Any", BLOCK: tl.constexpr
) -> None:
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < size
    x = tl.load(y_ptr + at, mask=inside, other=0.0).to(tl.float32)
    x += tl.load(bias_ptr + at % width, mask=inside, other=0.0).to(tl.float32)
    y = 0.5 * x * (1.0 + tl.erf(x * 0.7071067811865476))
    tl.store(y_ptr + at, y.to(y_ptr.dtype.element_ty), mask=inside)


# Not as decorators: what they make has no type that a checker could keep.
_normed_sum: Any = triton.jit(_normed_sum_source)
_biased_gelu: Any = triton.jit(_biased_gelu_source)
