"""From the tokens of each sequence to one vector, as sentence-transformers defines it.

Shape suffixes: T tokens of all sequences, N sequences, D width.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from corpusmill.models.packed import PackedTokens


def first(x_TD: Tensor, packed: PackedTokens) -> Tensor:
    """Return the hidden state of each sequence's first token ([CLS])."""
    return x_TD[packed.cu_seqlens[:-1]]


def last(x_TD: Tensor, packed: PackedTokens) -> Tensor:
    """Return the hidden state of each sequence's last token."""
    return x_TD[packed.cu_seqlens[1:] - 1]


def mean(x_TD: Tensor, packed: PackedTokens) -> Tensor:
    """Return the average over a sequence's tokens, special tokens included."""
    return _sum(x_TD, packed) / _lengths(x_TD, packed)


def mean_sqrt_len(x_TD: Tensor, packed: PackedTokens) -> Tensor:
    """Return the sum over a sequence's tokens, divided by the square root of their number."""
    return _sum(x_TD, packed) / _lengths(x_TD, packed).sqrt()


def maximum(x_TD: Tensor, packed: PackedTokens) -> Tensor:
    """Return the largest value of each feature in a sequence."""
    return torch.segment_reduce(x_TD, "max", lengths=packed.cu_seqlens.diff().long(), axis=0, unsafe=True)


def weighted_mean(x_TD: Tensor, packed: PackedTokens) -> Tensor:
    """Return the average with weights 1, 2, 3, ... in token order (SGPT)."""
    lengths_N1 = _lengths(x_TD, packed)
    starts_T = torch.repeat_interleave(packed.cu_seqlens[:-1], packed.cu_seqlens.diff())
    weights_T = torch.arange(1, len(x_TD) + 1, device=x_TD.device) - starts_T
    return _sum(x_TD * weights_T[:, None], packed) / (lengths_N1 * (lengths_N1 + 1) / 2)


POOLINGS: dict[str, Callable[[Tensor, PackedTokens], Tensor]] = {
    "cls": first,
    "max": maximum,
    "mean": mean,
    "mean_sqrt_len": mean_sqrt_len,
    "weightedmean": weighted_mean,
    "lasttoken": last,
}


def _sum(x_TD: Tensor, packed: PackedTokens) -> Tensor:
    """Add up each sequence in token order, so that a neighbour cannot change even the rounding."""
    return torch.segment_reduce(x_TD, "sum", lengths=packed.cu_seqlens.diff().long(), axis=0, unsafe=True)


def _lengths(x_TD: Tensor, packed: PackedTokens) -> Tensor:
    return packed.cu_seqlens.diff().to(x_TD.dtype)[:, None]
