"""The shared last part of row kernels, in Triton: a norm of values in float32, and their storing."""

from typing import Any

import triton
import triton.language as tl

VALUES = 2048
"""The most values of one tensor in a program that works on whole rows."""


def block_of(width: int) -> tuple[int, int]:
    """Return a program's number of rows of this width, and of columns, a power of two."""
    columns = triton.next_power_of_2(width)
    return max(1, VALUES // columns), columns


# Triton evaluates the annotations of kernels unless they are strings.
def _normed_source(
    x: "Any",
    column: "Any",
    used: "Any",
    weight_ptr: "Any",
    shift_ptr: "Any",
    width: "Any",
    eps: "Any",
    NORMALIZES: tl.constexpr,
) -> "Any":
    """Return rows normalized, or only scaled and shifted; unused columns must hold zeros."""
    if NORMALIZES:
        mean = tl.sum(x, axis=1)[:, None] / width
        x = tl.where(used, x - mean, 0.0)
        variance = tl.sum(x * x, axis=1)[:, None] / width
        x = x / tl.sqrt(variance + eps)
    weight = tl.load(weight_ptr + column, mask=used, other=0.0).to(tl.float32)
    shift = tl.load(shift_ptr + column, mask=used, other=0.0).to(tl.float32)
    return x * weight + shift


# Not as a decorator, with which the type checker would lose the function's type.
normed: Any = triton.jit(_normed_source)
