"""The few sizes that small batches are padded to on a GPU, so that each can be recorded once as a CUDA graph.

Pure arithmetic: which size a batch gets depends on the batch and the model alone, never on how fast this
machine is or what ran before, so that the same batch gives the same bytes everywhere.
"""

from collections.abc import Iterable
from dataclasses import dataclass

FEWEST_TOKENS, FEWEST_SEQUENCES, SHORTEST = 128, 16, 128
STEPS = 8
"""The sizes per power of two: above the smallest size, at most one token in eight is padding."""
PIECE = 64
"""The most tokens of a sequence of padding."""
LAUNCH_SECONDS = 7e-5
"""Measured seconds on the host for one module's call, in PyTorch, Triton and Python."""
FLOPS, BYTES = 4e14, 2.5e12
"""The operations of products, and the bytes read and written, per second of a large GPU in practice."""
LARGEST = 32_768


@dataclass(frozen=True)
class PaddedSize:
    """A size that batches are padded to: all tokens, sequences (empty ones too), tokens of the longest."""

    tokens: int
    sequences: int
    longest: int

    @property
    def piece(self) -> int:
        """Tokens of a sequence of padding, but for the last one."""
        return min(PIECE, self.longest)


@dataclass(frozen=True)
class LinearMap:
    """The cost of a linear map: its weights, and the values that it reads and writes per token."""

    weights: int
    values: int


def padded_size(*, tokens: int, sequences: int, longest: int, positions: int) -> PaddedSize:
    """Return the smallest size that holds a batch and its padding; `positions` limits a sequence's length."""
    size = padded_tokens(tokens)
    reach = min(_doubled(longest, SHORTEST), max(positions, longest))
    pieces = -(-(size - tokens) // min(PIECE, reach))
    return PaddedSize(size, _doubled(sequences + pieces, FEWEST_SEQUENCES), reach)


def padded_tokens(tokens: int) -> int:
    """Return the next size in tokens: multiples of an eighth of the power of two below."""
    if tokens <= FEWEST_TOKENS:
        return FEWEST_TOKENS
    step = (1 << (tokens - 1).bit_length() - 1) // STEPS
    return -(-tokens // step) * step


def launch_bound(maps: Iterable[LinearMap], *, calls: int, bytes_per_value: int) -> int:
    """Return the tokens of a batch below which a GPU waits for the host: a padded size of at most `LARGEST`.

    `calls` are the kernels of a pass. A batch's time on the device is taken from its linear maps.
    """
    seconds = sum(2 * each.weights / FLOPS + each.values * bytes_per_value / BYTES for each in maps)
    if seconds <= 0:
        return 0
    tokens = min(LARGEST, int(calls * LAUNCH_SECONDS / seconds))
    return padded_tokens(tokens) if tokens >= FEWEST_TOKENS else 0


def _doubled(number: int, least: int) -> int:
    """Return the next power of two, and at least `least`."""
    return max(least, 1 << (number - 1).bit_length())
