"""The few sizes that small batches are padded to on a GPU, so that each can be recorded once as a CUDA graph.

Pure arithmetic: which size a batch gets depends on the batch and the model alone, never on how fast this
machine is or what ran before, so that the same batch gives the same bytes everywhere.
"""

from collections.abc import Iterable
from dataclasses import dataclass

FEWEST_TOKENS, FEWEST_SEQUENCES, SHORTEST = 128, 16, 128
STEPS = 8
"""Sizes in each doubling of the tokens: at most one token in eight is padding, beyond the fewest."""
PIECE = 64
"""Tokens of a sequence of padding, at most."""
LAUNCH_SECONDS = 7e-5
"""What a module's kernels cost the host: PyTorch's, Triton's and Python's part of one call, measured."""
FLOPS, BYTES = 4e14, 2.5e12
"""What a large GPU does a second in practice, of products and of memory read and written."""
LARGEST = 32_768


@dataclass(frozen=True)
class PaddedSize:
    """Sizes that a batch is padded to: tokens in all, sequences (empty ones too), tokens of the longest."""

    tokens: int
    sequences: int
    longest: int

    @property
    def piece(self) -> int:
        """Tokens of a sequence of padding, but for the last one."""
        return min(PIECE, self.longest)


@dataclass(frozen=True)
class LinearMap:
    """A linear map: its weights, and the values that it reads and writes of a token."""

    weights: int
    values: int


def padded_size(*, tokens: int, sequences: int, longest: int, positions: int) -> PaddedSize:
    """The smallest size that holds a batch and its padding; `positions` is the longest that can be."""
    size = padded_tokens(tokens)
    reach = min(_doubled(longest, SHORTEST), max(positions, longest))
    pieces = -(-(size - tokens) // min(PIECE, reach))
    return PaddedSize(size, _doubled(sequences + pieces, FEWEST_SEQUENCES), reach)


def padded_tokens(tokens: int) -> int:
    """The next of the sizes: multiples of an eighth of the power of two below."""
    if tokens <= FEWEST_TOKENS:
        return FEWEST_TOKENS
    step = (1 << (tokens - 1).bit_length() - 1) // STEPS
    return -(-tokens // step) * step


def launch_bound(maps: Iterable[LinearMap], *, calls: int, bytes_per_value: int) -> int:
    """The tokens of a batch below which a GPU waits for the host, at most `LARGEST`; a size of its own.

    `calls` are the kernels of a pass. A batch's time on the device is taken from its linear maps.
    """
    seconds = sum(2 * each.weights / FLOPS + each.values * bytes_per_value / BYTES for each in maps)
    if seconds <= 0:
        return 0
    tokens = min(LARGEST, int(calls * LAUNCH_SECONDS / seconds))
    return padded_tokens(tokens) if tokens >= FEWEST_TOKENS else 0


def _doubled(number: int, least: int) -> int:
    """The next power of two, and at least so many."""
    return max(least, 1 << (number - 1).bit_length())
