"""The tokens per batch that fit a GPU's memory, measured at start-up."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
import torch

from corpusmill.models import PackedTokens
from corpusmill.pipeline.encode.halving import out_of_memory

PROBE_SIZES = (2048, 4096, 16384)
PROBE_LENGTH = 128
"""Tokens of a probe's sequences, if the model allows so many."""
BATCHES_AT_ONCE = 3
"""Batches whose memory is needed at once: two are under way, and CUDA graphs keep the memory of a third."""
GIB = 2**30

MIN_TOKENS = 512
"""Least number of tokens per batch; a batch that does not fit then is halved."""
USABLE_SHARE = 0.9
"""Share of the free memory that is used: allocators leave gaps, and long sequences may need more."""


def fit_batch_size(
    run: Callable[[PackedTokens], object], *, wanted: int, max_length: int, share: float = 1.0
) -> tuple[int, str | None]:
    """Return the tokens per batch that fit into `share` of the current GPU, and a note if fewer than wanted.

    If `wanted` is so small that there is nothing to measure, it is returned.
    """
    if wanted < PROBE_SIZES[1]:
        return wanted, None
    probes = [probe for size in PROBE_SIZES if size <= wanted and (probe := try_batch(run, size, max_length))]
    free = free_bytes(share)
    if len(probes) < 2:
        return (
            MIN_TOKENS,
            f"takes batches of {MIN_TOKENS} tokens instead of {wanted}: {free / GIB:.1f} GiB are free",
        )
    model = MemoryModel.fit(probes)
    tokens = largest_fitting(wanted, model, free=free, batches=BATCHES_AT_ONCE)
    if tokens == wanted:
        return wanted, None
    return tokens, (
        f"takes batches of {tokens} tokens instead of {wanted}: {BATCHES_AT_ONCE} batches of {wanted} take "
        f"{BATCHES_AT_ONCE * model.size(wanted) / GIB:.1f} GiB, and {free / GIB:.1f} GiB are free"
    )


# The probes that measure memory, and the line through them from which the batch size follows.


@dataclass(frozen=True, slots=True)
class Probe:
    """The peak of additional bytes that a batch of so many tokens took."""

    tokens: int
    size: int


def try_batch(run: Callable[[PackedTokens], object], tokens: int, max_length: int) -> Probe | None:
    """Return the probe of a batch's second run, after one-time allocations; None if it does not fit."""
    try:
        run(probe_batch(tokens, max_length))
        return Probe(tokens, peak_bytes(run, probe_batch(tokens, max_length)))
    except Exception as error:
        if not out_of_memory(error):
            raise
    torch.cuda.empty_cache()
    return None


def probe_batch(tokens: int, max_length: int) -> PackedTokens:
    """Return sequences of token 0 with about so many tokens in all."""
    length = min(PROBE_LENGTH, max_length)
    lengths = np.full(max(1, tokens // length), length, np.int64)
    return PackedTokens.from_flat(np.zeros(int(lengths.sum()), np.int64), lengths)


def peak_bytes(run: Callable[[PackedTokens], object], packed: PackedTokens) -> int:
    """Return the peak of additional bytes while a batch runs."""
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run(packed)
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def free_bytes(share: float) -> int:
    """Return the free bytes of the GPU for this process, at most the rest of its share."""
    unused, whole = torch.cuda.mem_get_info()
    taken = torch.cuda.memory_allocated()
    kept = torch.cuda.memory_reserved() - taken
    return min(unused + kept, int(share * whole) - taken)


@dataclass(frozen=True, slots=True)
class MemoryModel:
    """A line: the bytes of a batch are `fixed` plus `per_token` for each token."""

    fixed: float
    per_token: float

    @classmethod
    def fit(cls, probes: Sequence[Probe]) -> Self:
        """Return the steepest line between neighbouring probes, raised until no probe is above it.

        ValueError for fewer than two sizes.
        """
        ordered = sorted(probes, key=lambda probe: probe.tokens)
        pairs = [(a, b) for a, b in pairwise(ordered) if a.tokens < b.tokens]
        if not pairs:
            raise ValueError("expected probes of at least two sizes")
        slope = max(0.0, *((b.size - a.size) / (b.tokens - a.tokens) for a, b in pairs))
        return cls(max(0.0, *(probe.size - slope * probe.tokens for probe in ordered)), slope)

    def size(self, tokens: int) -> float:
        """Return the bytes of a batch."""
        return self.fixed + self.per_token * tokens


def largest_fitting(wanted: int, model: MemoryModel, *, free: int, batches: int = 1) -> int:
    """Return the tokens per batch: `wanted`, halved until so many batches fit into the free memory at once.

    Halving gives similar machines the same batches. The result is less than MIN_TOKENS only if `wanted` is.
    """
    tokens = wanted
    while tokens > MIN_TOKENS and batches * model.size(tokens) > USABLE_SHARE * free:
        tokens = max(MIN_TOKENS, tokens // 2)
    return tokens
