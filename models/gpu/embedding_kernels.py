"""Vectors of tokens as Triton kernels. Imported only if there are a GPU and Triton.

The host has checked the ids; a kernel reads any row without a check.
Shape suffixes: T tokens, D width, E word-vector width.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from corpusmill.models.gpu.norm_kernel import block_of, normed
from corpusmill.models.gpu.records import Norm, Rows

# The tokens of a program.
TOKENS = 16


def embedded(words: Rows, places: Rows, kinds: Rows | None, norm: Norm) -> Tensor:
    """Return the norm of each token's word, position and type vectors added up, (T, D)."""
    assert places.ids is not None
    tokens, width = len(places.ids), places.table.shape[1]
    out_TD = torch.empty(tokens, width, dtype=words.table.dtype, device=words.table.device)
    rows, columns = block_of(width)
    if tokens:
        _embedded[(triton.cdiv(tokens, rows),)](
            words.table.contiguous(),
            places.ids if words.ids is None else words.ids,
            places.table,
            places.ids,
            places.table if kinds is None else kinds.table,
            places.ids if kinds is None else kinds.ids,
            *(norm.weight, norm.bias, out_TD),
            *(tokens, width, 0.0 if norm.eps is None else norm.eps),
            LOOKS_UP=words.ids is not None,
            HAS_KINDS=kinds is not None,
            NORMALIZES=norm.eps is not None,
            ROWS=rows,
            COLUMNS=columns,
        )
    return out_TD


def trigrams(words: Rows, bounds: tuple[Tensor, Tensor]) -> Tensor:
    """Return each token's next, own and previous word, (T, 3E); zeros beyond its sequence."""
    table_E = words.table.contiguous()
    tokens, width = len(table_E if words.ids is None else words.ids), table_E.shape[1]
    out_TE = torch.empty(tokens, 3 * width, dtype=words.table.dtype, device=words.table.device)
    if tokens:
        _trigrams[(triton.cdiv(tokens, TOKENS), 3)](
            *(table_E, bounds[0] if words.ids is None else words.ids, *bounds, out_TE, tokens, width),
            LOOKS_UP=words.ids is not None,
            TOKENS=TOKENS,
            COLUMNS=triton.next_power_of_2(width),
        )
    return out_TE


# Triton evaluates the annotations of kernels unless they are strings.
def _embedded_source(
    word_ptr: "Any",
    word_id_ptr: "Any",
    place_ptr: "Any",
    place_id_ptr: "Any",
    kind_ptr: "Any",
    kind_id_ptr: "Any",
    weight_ptr: "Any",
    shift_ptr: "Any",
    out_ptr: "Any",
    tokens: "Any",
    width: "Any",
    eps: "Any",
    LOOKS_UP: tl.constexpr,
    HAS_KINDS: tl.constexpr,
    NORMALIZES: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, COLUMNS)[None, :]
    known, used = row < tokens, column < width
    inside = known[:, None] & used
    word = row
    if LOOKS_UP:
        word = tl.load(word_id_ptr + row, mask=known, other=0)
    place = tl.load(place_id_ptr + row, mask=known, other=0)
    x = tl.load(word_ptr + word[:, None] * width + column, mask=inside, other=0.0).to(tl.float32)
    x += tl.load(place_ptr + place[:, None] * width + column, mask=inside, other=0.0).to(tl.float32)
    if HAS_KINDS:
        kind = tl.load(kind_id_ptr + row, mask=known, other=0)
        x += tl.load(kind_ptr + kind[:, None] * width + column, mask=inside, other=0.0).to(tl.float32)
    y = normed(x, column, used, weight_ptr, shift_ptr, width, eps, NORMALIZES)
    tl.store(out_ptr + row[:, None] * width + column, y.to(out_ptr.dtype.element_ty), mask=inside)


def _trigrams_source(
    word_ptr: "Any",
    id_ptr: "Any",
    start_ptr: "Any",
    end_ptr: "Any",
    out_ptr: "Any",
    tokens: "Any",
    width: "Any",
    LOOKS_UP: tl.constexpr,
    TOKENS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    token = tl.program_id(0).to(tl.int64) * TOKENS + tl.arange(0, TOKENS)
    column = tl.arange(0, COLUMNS)[None, :]
    part = tl.program_id(1)
    other = token + 1 - part
    known = token < tokens
    start = tl.load(start_ptr + token, mask=known, other=0)
    end = tl.load(end_ptr + token, mask=known, other=0)
    seen = known & (other >= start) & (other < end)
    word = other
    if LOOKS_UP:
        word = tl.load(id_ptr + other, mask=seen, other=0)
    used = column < width
    x = tl.load(word_ptr + word[:, None] * width + column, mask=seen[:, None] & used, other=0.0)
    at = (token[:, None] * 3 + part) * width + column
    tl.store(out_ptr + at, x, mask=known[:, None] & used)


# Not as decorators, with which the type checker would lose the functions' types.
_embedded: Any = triton.jit(_embedded_source)
_trigrams: Any = triton.jit(_trigrams_source)
