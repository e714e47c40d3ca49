"""The kernels of `sum_and_norm.py` in Triton. Imported only if there are a GPU and Triton.

A program works on whole rows: each is read once and written once; sums and norms are in float32.
Shape suffixes: T tokens, D width.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from corpusmill.models.gpu.embedding_kernels import embedded, trigrams
from corpusmill.models.gpu.norm_kernel import block_of, normed
from corpusmill.models.gpu.records import Norm, Rows

# The values of a program that does not need whole rows.
ROWS, COLUMNS = 16, 256


class TritonSumAndNorm:
    """`SumAndNormKernels` for a GPU."""

    def normed_sum(self, y_TD: Tensor, bias_D: Tensor, residual_TD: Tensor | None, norm: Norm) -> Tensor:
        """Return the norm of y + bias (+ residual), (T, D)."""
        y_TD = y_TD.contiguous()
        tokens, width = y_TD.shape
        out_TD = torch.empty_like(y_TD)
        rows, columns = block_of(width)
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

    def biased(self, y_TD: Tensor, bias_D: Tensor, *, gelu: bool) -> Tensor:
        """Overwrite y with y + bias, or GELU of it in its tanh form, and return it."""
        assert y_TD.is_contiguous()
        tokens, width = y_TD.shape
        if tokens:
            grid = (triton.cdiv(tokens, ROWS), triton.cdiv(width, COLUMNS))
            _biased[grid](y_TD, bias_D, tokens, width, GELU=gelu, ROWS=ROWS, COLUMNS=COLUMNS)
        return y_TD

    def embedded(self, words: Rows, places: Rows, kinds: Rows | None, norm: Norm) -> Tensor:
        """Return the norm of each token's word, position and type vectors added up, (T, D)."""
        return embedded(words, places, kinds, norm)

    def trigrams(self, words: Rows, bounds: tuple[Tensor, Tensor]) -> Tensor:
        """Return each token's next, own and previous word, (T, 3E); zeros beyond its sequence."""
        return trigrams(words, bounds)


# Triton evaluates the annotations of kernels unless they are strings.
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
    y = normed(x, column, used, weight_ptr, shift_ptr, width, eps, NORMALIZES)
    tl.store(out_ptr + at, y.to(out_ptr.dtype.element_ty), mask=inside)


def _biased_source(
    y_ptr: "Any",
    bias_ptr: "Any",
    tokens: "Any",
    width: "Any",
    GELU: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    at, used = row * width + column, column < width
    inside = used & (row < tokens)
    y = tl.load(y_ptr + at, mask=inside, other=0.0).to(tl.float32)
    y += tl.load(bias_ptr + column, mask=used, other=0.0).to(tl.float32)
    if GELU:
        # y * (1 + tanh(u)) / 2 is y * sigmoid(2u); u = sqrt(2 / pi) * (y + 0.044715 * y**3).
        y = y * tl.sigmoid(1.5957691216057308 * (y + 0.044715 * y * y * y))
    tl.store(y_ptr + at, y.to(y_ptr.dtype.element_ty), mask=inside)


# Not as decorators, with which the type checker would lose the functions' types.
_normed_sum: Any = triton.jit(_normed_sum_source)
_biased: Any = triton.jit(_biased_source)
