"""How many tokens a batch may have on a device: a line fitted to a few probes, held against free memory.

Pure arithmetic; `probing.py` measures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

LEAST = 512
"""Tokens of a batch that are tried in any case; what then does not fit is halved."""
SHARE = 0.9
"""Of the free memory: allocators keep gaps, and a batch of long sequences may need more than the probes."""


@dataclass(frozen=True, slots=True)
class Probe:
    """The bytes that a batch of so many tokens took at most, beyond what was there before."""

    tokens: int
    size: int


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


def fitting(asked: int, model: MemoryModel, *, free: int, batches: int = 1) -> int:
    """Return the tokens of a batch, `asked` halved until so many batches fit into free memory at once.

    Halves, so that machines that differ a little cut the same batches. Never fewer than LEAST, unless fewer
    were asked for.
    """
    tokens = asked
    while tokens > LEAST and batches * model.size(tokens) > SHARE * free:
        tokens = max(LEAST, tokens // 2)
    return tokens
