"""Convolutions over packed windows as Triton kernels. Imported only if there are a GPU and Triton.

A token reads those of its neighbours that lie between its sequence's bounds; others count as zeros and are
not read, so that not even NaN can spread. Sums are in float32. The definitions are in `ops/windows.py`.
Shape suffixes: T tokens, D width, H heads, d head width, K window.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from corpusmill.models.packed import PackedTokens

TOKENS, FEATURES = 32, 64
"""The tokens and features of a program of the depthwise convolution; the dynamic one works on whole heads."""


def depthwise_convolution(x_TD: Tensor, weight_KD: Tensor, packed: PackedTokens) -> Tensor:
    """Return each feature's window, weighted by K weights of its own; K is odd."""
    x_TD, weight_KD = x_TD.contiguous(), weight_KD.contiguous()
    tokens, width = x_TD.shape
    out_TD = torch.empty_like(x_TD)
    grid = (triton.cdiv(tokens, TOKENS), triton.cdiv(width, FEATURES))
    _depthwise[grid](
        x_TD,
        weight_KD,
        *packed.bounds,
        out_TD,
        tokens,
        width,
        SIZE=len(weight_KD),
        TOKENS=TOKENS,
        FEATURES=FEATURES,
    )
    return out_TD


def dynamic_convolution(x_THd: Tensor, kernel_THK: Tensor, packed: PackedTokens) -> Tensor:
    """Return each token's window, weighted head by head with K weights of the token's own; K is odd."""
    x_THd, kernel_THK = x_THd.contiguous(), kernel_THK.contiguous()
    tokens, heads, width = x_THd.shape
    out_THd = torch.empty_like(x_THd)
    _dynamic[(triton.cdiv(tokens, TOKENS), heads)](
        x_THd,
        kernel_THK,
        *packed.bounds,
        out_THd,
        tokens,
        heads,
        width,
        SIZE=kernel_THK.shape[-1],
        TOKENS=TOKENS,
        FEATURES=triton.next_power_of_2(width),
    )
    return out_THd


# Triton evaluates the annotations of kernels unless they are strings.
def _depthwise_source(
    x_ptr: "Any",
    weight_ptr: "Any",
    start_ptr: "Any",
    end_ptr: "Any",
    out_ptr: "Any",
    tokens: "Any",
    width: "Any",
    SIZE: tl.constexpr,
    TOKENS: tl.constexpr,
    FEATURES: tl.constexpr,
) -> None:
    token = tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)
    feature = tl.program_id(1) * FEATURES + tl.arange(0, FEATURES)
    known, used = token < tokens, feature < width
    start = tl.load(start_ptr + token, mask=known, other=0)
    end = tl.load(end_ptr + token, mask=known, other=0)
    total = tl.zeros((TOKENS, FEATURES), dtype=tl.float32)
    for index in tl.static_range(SIZE):
        other = token + index - SIZE // 2
        seen = (other >= start) & (other < end)
        at = other.to(tl.int64)[:, None] * width + feature[None, :]
        x = tl.load(x_ptr + at, mask=seen[:, None] & used[None, :], other=0.0).to(tl.float32)
        weight = tl.load(weight_ptr + index * width + feature, mask=used, other=0.0).to(tl.float32)
        total += x * weight[None, :]
    at = token.to(tl.int64)[:, None] * width + feature[None, :]
    tl.store(out_ptr + at, total.to(out_ptr.dtype.element_ty), mask=known[:, None] & used[None, :])


def _dynamic_source(
    x_ptr: "Any",
    kernel_ptr: "Any",
    start_ptr: "Any",
    end_ptr: "Any",
    out_ptr: "Any",
    tokens: "Any",
    heads: "Any",
    width: "Any",
    SIZE: tl.constexpr,
    TOKENS: tl.constexpr,
    FEATURES: tl.constexpr,
) -> None:
    token = tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)
    head, feature = tl.program_id(1), tl.arange(0, FEATURES)
    known, used = token < tokens, feature < width
    start = tl.load(start_ptr + token, mask=known, other=0)
    end = tl.load(end_ptr + token, mask=known, other=0)
    own = token.to(tl.int64) * heads + head
    total = tl.zeros((TOKENS, FEATURES), dtype=tl.float32)
    for index in tl.static_range(SIZE):
        other = token + index - SIZE // 2
        seen = (other >= start) & (other < end)
        at = (other.to(tl.int64) * heads + head)[:, None] * width + feature[None, :]
        x = tl.load(x_ptr + at, mask=seen[:, None] & used[None, :], other=0.0).to(tl.float32)
        # A window's weight beyond the sequence is not used either, so it may be NaN.
        weight = tl.load(kernel_ptr + own * SIZE + index, mask=seen, other=0.0).to(tl.float32)
        total += x * weight[:, None]
    at = own[:, None] * width + feature[None, :]
    tl.store(out_ptr + at, total.to(out_ptr.dtype.element_ty), mask=known[:, None] & used[None, :])


# Not as decorators, with which the type checker would lose the functions' types.
_depthwise: Any = triton.jit(_depthwise_source)
_dynamic: Any = triton.jit(_dynamic_source)
