"""Sequences of a batch cut into tiles, each inside one sequence.

Shape suffixes: N sequences.
"""

import torch
from torch import Tensor


def cut(cu_seqlens: Tensor, *, tokens: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Each tile's first token of at most `size`, and where its sequence begins and ends, all int32.

    As many tiles as any batch of so many tokens and sequences may have; one beyond the last begins at its
    end or after it. The host is asked for nothing, so that a graph can record it.
    """
    starts_N, ends_N = cu_seqlens[:-1], cu_seqlens[1:]
    counts_N = (ends_N - starts_N + (size - 1)) // size
    until_N = counts_N.cumsum(0, dtype=torch.int32)
    numbers = torch.arange(tokens // size + len(starts_N), dtype=torch.int32, device=until_N.device)
    own = torch.searchsorted(until_N, numbers, right=True).clamp(max=len(starts_N) - 1)
    firsts = starts_N[own] + (numbers - (until_N - counts_N)[own]) * size
    return firsts, starts_N[own], ends_N[own]
