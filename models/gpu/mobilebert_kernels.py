"""A MobileBERT layer after its attention as one Triton kernel. Imported only if there are a GPU and Triton.

A program takes some tokens through the map after attention, all feed-forward parts and out of the
bottleneck. Their sum stays in registers, in float32; weights are read from the cache. The
definition is in `mobilebert.py`.
Shape suffixes: T tokens, D width, B bottleneck width, I inner width of all parts.
"""

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from corpusmill.models.gpu.records import Rest

TOKENS, INNER, WIDTH, WARPS, STAGES = 64, 64, 128, 4, 3
"""A program's tile: tokens, columns of the inner width and of the layer's width; the fastest on an H200."""


def rest_of_layer(y_TB: Tensor, kept_TB: Tensor, x_TD: Tensor, rest: Rest) -> Tensor:
    """Return the layer's result (T, D)."""
    out_TD = torch.empty_like(x_TD)
    width, narrow = rest.leave.shape
    inner = len(rest.inner) // rest.parts
    at_once = math.gcd(inner, INNER)
    if len(x_TD):
        _rest_of_layer[(triton.cdiv(len(x_TD), TOKENS),)](
            *(y_TB, kept_TB, x_TD, out_TD),
            *(rest.output, rest.output_bias, rest.inner, rest.inner_bias, rest.outer, rest.outer_bias),
            *(rest.leave, rest.leave_bias, rest.factor, rest.addend),
            len(x_TD),
            *(y_TB.stride(0), kept_TB.stride(0), x_TD.stride(0)),
            PARTS=rest.parts,
            CHUNKS=inner // at_once,
            TOKENS=TOKENS,
            INNER=at_once,
            NARROW=narrow,
            WIDE=width,
            WIDTH=math.gcd(width, WIDTH),
            STAGES=STAGES,
            num_warps=WARPS,
        )
    return out_TD


# Triton evaluates the annotations of kernels unless they are strings.
def _rest_of_layer_source(
    y_ptr: "Any",
    kept_ptr: "Any",
    x_ptr: "Any",
    out_ptr: "Any",
    output_ptr: "Any",
    output_bias_ptr: "Any",
    inner_ptr: "Any",
    inner_bias_ptr: "Any",
    outer_ptr: "Any",
    outer_bias_ptr: "Any",
    leave_ptr: "Any",
    leave_bias_ptr: "Any",
    factor_ptr: "Any",
    addend_ptr: "Any",
    tokens: "Any",
    y_stride: "Any",
    kept_stride: "Any",
    x_stride: "Any",
    PARTS: tl.constexpr,
    CHUNKS: tl.constexpr,
    TOKENS: tl.constexpr,
    INNER: tl.constexpr,
    NARROW: tl.constexpr,
    WIDE: tl.constexpr,
    WIDTH: tl.constexpr,
    STAGES: tl.constexpr,
) -> None:
    token = tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)
    known = (token < tokens)[:, None]
    row = token.to(tl.int64)[:, None]
    narrow = tl.arange(0, NARROW)
    hidden, wide = tl.arange(0, INNER), tl.arange(0, WIDTH)
    y = tl.load(y_ptr + row * y_stride + narrow[None, :], mask=known, other=0.0)
    weight = tl.load(output_ptr + narrow[:, None] * NARROW + narrow[None, :])
    sum = tl.dot(y, tl.trans(weight))
    sum += tl.load(kept_ptr + row * kept_stride + narrow[None, :], mask=known, other=0.0).to(tl.float32)
    sum += tl.load(output_bias_ptr + narrow)[None, :].to(tl.float32)
    for part in range(PARTS):
        read = sum.to(y.dtype)
        sum += tl.load(outer_bias_ptr + part * NARROW + narrow)[None, :].to(tl.float32)
        for chunk in tl.range(0, CHUNKS, num_stages=STAGES):
            at = (part * CHUNKS + chunk) * INNER + hidden
            into = tl.load(inner_ptr + at[:, None] * NARROW + narrow[None, :])
            back = tl.load(outer_ptr + at[:, None] * NARROW + narrow[None, :])
            h = tl.dot(read, tl.trans(into)) + tl.load(inner_bias_ptr + at)[None, :].to(tl.float32)
            sum = tl.dot(tl.maximum(h, 0.0).to(y.dtype), back, sum)
    read = sum.to(y.dtype)
    for begin in range(0, WIDE, WIDTH):
        column = begin + wide
        leave = tl.load(leave_ptr + column[:, None] * NARROW + narrow[None, :])
        out = tl.dot(read, tl.trans(leave)) + tl.load(leave_bias_ptr + column)[None, :].to(tl.float32)
        out += tl.load(x_ptr + row * x_stride + column[None, :], mask=known, other=0.0).to(tl.float32)
        out = out * tl.load(factor_ptr + column)[None, :].to(tl.float32)
        out += tl.load(addend_ptr + column)[None, :].to(tl.float32)
        tl.store(out_ptr + row * WIDE + column[None, :], out.to(out_ptr.dtype.element_ty), mask=known)


# Not as a decorator, with which the type checker would lose the function's type.
_rest_of_layer: Any = triton.jit(_rest_of_layer_source)
