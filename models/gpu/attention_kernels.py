"""Attention inside packed sequences as a Triton kernel. Imported only if there are a GPU and Triton.

A program attends for a tile of neighbouring queries of one sequence and one head, over the keys of that
sequence alone: no other sequence is read, so that not even NaN can spread. Scores, softmax and sums are in
float32. The definition is `attend_each` in `ops/attention.py`.
Shape suffixes: T tokens of all sequences, H heads, D head width.
"""

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from corpusmill.models.ops.attention import attend_varlen
from corpusmill.models.packed import PackedTokens

LOG2_E = 1.4426950408889634


WIDTHS = (16, 32, 64, 128)
"""The head widths of the kernel; flash attention runs the others, and batches with masked keys."""


@dataclass(frozen=True)
class Tiling:
    """The queries of a tile, the keys per step, and the launch options."""

    queries: int
    keys: int
    warps: int
    stages: int


def tiling_for(longest: int) -> Tiling:
    """Return the tiling for batches with this longest sequence: the fastest on an H200."""
    if longest <= 32:
        return Tiling(queries=32, keys=32, warps=2, stages=1)
    return Tiling(queries=64, keys=32 if longest <= 128 else 64, warps=4, stages=2 if longest <= 128 else 3)


def attend_tiles(q_THD: Tensor, k_THD: Tensor, v_THD: Tensor, packed: PackedTokens) -> Tensor:
    """Return softmax attention of each token over the unmasked tokens of its own sequence, (T, H, D)."""
    _, heads, width = q_THD.shape
    if packed.key_mask is not None or width not in WIDTHS:
        return attend_varlen(q_THD, k_THD, v_THD, packed)
    tiling = tiling_for(packed.max_length)
    out_THD = torch.empty(q_THD.shape, dtype=q_THD.dtype, device=q_THD.device)
    tiles = packed.tiles(tiling.queries)
    # In the first dimension: the others are limited to 65,535, and a batch of short sequences has more tiles.
    _attend[(heads * len(tiles[0]),)](
        *(q_THD, k_THD, v_THD, out_THD),
        *tiles,
        *(each.stride(dim) for each in (q_THD, k_THD, v_THD) for dim in (0, 1)),
        heads,
        width**-0.5 * LOG2_E,
        WIDTH=width,
        QUERIES=tiling.queries,
        KEYS=tiling.keys,
        num_warps=tiling.warps,
        num_stages=tiling.stages,
    )
    return out_THD


# Triton evaluates the annotations of kernels unless they are strings.
def _attend_source(
    q_ptr: "Any",
    k_ptr: "Any",
    v_ptr: "Any",
    out_ptr: "Any",
    first_ptr: "Any",
    start_ptr: "Any",
    end_ptr: "Any",
    q_token: "Any",
    q_head: "Any",
    k_token: "Any",
    k_head: "Any",
    v_token: "Any",
    v_head: "Any",
    heads: "Any",
    scale: "Any",
    WIDTH: tl.constexpr,
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
) -> None:
    head, tile = tl.program_id(0) % heads, tl.program_id(0) // heads
    first, end = tl.load(first_ptr + tile), tl.load(end_ptr + tile)
    if first < end:
        start = tl.load(start_ptr + tile)
        query = first + tl.arange(0, QUERIES)
        feature = tl.arange(0, WIDTH)
        known = (query < end)[:, None]
        q_at = query.to(tl.int64)[:, None] * q_token + head * q_head + feature[None, :]
        q = tl.load(q_ptr + q_at, mask=known, other=0.0)
        most = tl.full((QUERIES,), float("-inf"), dtype=tl.float32)
        total = tl.zeros((QUERIES,), dtype=tl.float32)
        out = tl.zeros((QUERIES, WIDTH), dtype=tl.float32)
        for key in range(start, end, KEYS):
            other = key + tl.arange(0, KEYS)
            own = other < end
            row = other.to(tl.int64)
            k_at = row[None, :] * k_token + head * k_head + feature[:, None]
            v_at = row[:, None] * v_token + head * v_head + feature[None, :]
            k = tl.load(k_ptr + k_at, mask=own[None, :], other=0.0)
            v = tl.load(v_ptr + v_at, mask=own[:, None], other=0.0)
            score = tl.where(own[None, :], tl.dot(q, k) * scale, float("-inf"))
            above = tl.maximum(most, tl.max(score, 1))
            p = tl.exp2(score - above[:, None])
            shrink = tl.exp2(most - above)
            total = total * shrink + tl.sum(p, 1)
            out = tl.dot(p.to(v.dtype), v, out * shrink[:, None])
            most = above
        out_at = (query.to(tl.int64)[:, None] * heads + head) * WIDTH + feature[None, :]
        tl.store(out_ptr + out_at, (out / total[:, None]).to(out_ptr.dtype.element_ty), mask=known)


# Not as a decorator, with which the type checker would lose the function's type.
_attend: Any = triton.jit(_attend_source)
