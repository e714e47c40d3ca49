"""What batches take of a GPU's memory, tried at start-up."""

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
"""Tokens of a probe's sequences, where so many fit."""
BATCHES_AT_ONCE = 3
"""Two are under way at once, and graphs keep the memory of another one."""
GIB = 2**30

MIN_TOKENS = 512
"""Tokens of a batch that are tried in any case; what then does not fit is halved."""
USABLE_SHARE = 0.9
"""Of the free memory: allocators keep gaps, and a batch of long sequences may need more than the probes."""


def fit_batch_size(
    run: Callable[[PackedTokens], object], *, wanted: int, max_length: int, share: float = 1.0
) -> tuple[int, str | None]:
    """Return the tokens of a batch that fit into `share` of the current GPU, and what to say if fewer.

    At most `wanted`, and all of them where so few are asked for that there is nothing to try.
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


# How many tokens a batch may have on a device: a line fitted to a few probes, held against free memory.
#
# Pure arithmetic; `Probe` measures.


@dataclass(frozen=True, slots=True)
class Probe:
    """The bytes that a batch of so many tokens took at most, beyond what was there before."""

    tokens: int
    size: int


def try_batch(run: Callable[[PackedTokens], object], tokens: int, max_length: int) -> Probe | None:
    """Return what a batch takes the second time, when what is made once is there; None if it does not fit."""
    try:
        run(probe_batch(tokens, max_length))
        return Probe(tokens, peak_bytes(run, probe_batch(tokens, max_length)))
    except Exception as error:
        if not out_of_memory(error):
            raise
    torch.cuda.empty_cache()
    return None


def probe_batch(tokens: int, max_length: int) -> PackedTokens:
    """Return sequences of word 0, about so many tokens in all."""
    length = min(PROBE_LENGTH, max_length)
    lengths = np.full(max(1, tokens // length), length, np.int64)
    return PackedTokens.from_flat(np.zeros(int(lengths.sum()), np.int64), lengths)


def peak_bytes(run: Callable[[PackedTokens], object], packed: PackedTokens) -> int:
    """Return the bytes that a batch takes at most."""
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run(packed)
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def free_bytes(share: float) -> int:
    """Return what this process may still take: of the card, or of its share of it where others use it too."""
    unused, whole = torch.cuda.mem_get_info()
    taken = torch.cuda.memory_allocated()
    kept = torch.cuda.memory_reserved() - taken
    return min(unused + kept, int(share * whole) - taken)


@dataclass(frozen=True, slots=True)
class MemoryModel:
    """A batch takes `fixed` bytes and so many more of each token."""

    fixed: float
    per_token: float

    @classmethod
    def fit(cls, probes: Sequence[Probe]) -> Self:
        """Return the steepest line between neighbouring probes, raised until none lies above it.

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
    """Return the tokens of a batch, `wanted` halved until so many batches fit into free memory at once.

    Halves, so that machines that differ a little cut the same batches. Never fewer than LEAST, unless fewer
    were asked for.
    """
    tokens = wanted
    while tokens > MIN_TOKENS and batches * model.size(tokens) > USABLE_SHARE * free:
        tokens = max(MIN_TOKENS, tokens // 2)
    return tokens
