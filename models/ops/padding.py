"""A batch padded to a fixed size by further sequences, which no real sequence attends to.

Padding is no special case: it consists of sequences, short and empty ones, and no sequence can change the
results of another. The results of the first tokens are those of the batch.
Shape suffixes: T tokens, N sequences.
"""

from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from corpusmill.models.gpu.padded_sizes import PaddedSize, padded_size
from corpusmill.models.packed import LengthRun, PackedTokens, moved


def padded_size_of(packed: PackedTokens, *, positions: int) -> PaddedSize:
    """Return the size that a batch is padded to."""
    return padded_size(
        tokens=len(packed.input_ids),
        sequences=len(packed),
        longest=packed.max_length,
        positions=positions,
    )


def padded(packed: PackedTokens, size: PaddedSize) -> PackedTokens:
    """Return the batch, then sequences of word 0 and empty ones, up to the size."""
    tokens, device = len(packed.input_ids), packed.input_ids.device
    extra = size.tokens - tokens
    whole, rest = divmod(extra, size.piece)
    pieces = [size.piece] * whole + [rest] * (rest > 0)
    lengths = [*pieces, *[0] * (size.sequences - len(packed) - len(pieces))]
    ends = tokens + torch.tensor(lengths, dtype=torch.int32).cumsum(0, dtype=torch.int32)
    places = torch.arange(extra, device=device) % size.piece
    types_T = torch.zeros_like(packed.input_ids) if packed.token_types is None else packed.token_types
    return PackedTokens(
        input_ids=F.pad(packed.input_ids, (0, extra)),
        token_types=F.pad(types_T, (0, extra)),
        position_ids=torch.cat([packed.position_ids, places]),
        cu_seqlens=torch.cat([packed.cu_seqlens, moved(ends, device)]),
        lengths=torch.cat([packed.lengths, torch.tensor(lengths, dtype=torch.int64)]),
        max_length=size.longest,
        runs=(*packed.runs, *_runs(pieces, start=tokens)),
    )


def _runs(pieces: list[int], *, start: int) -> tuple[LengthRun, ...]:
    if not pieces:
        return ()
    whole = len(pieces) - (pieces[-1] != pieces[0])
    last = start + whole * pieces[0]
    runs = (LengthRun(start=start, count=whole, length=pieces[0]),)
    return runs if whole == len(pieces) else (*runs, LengthRun(start=last, count=1, length=pieces[-1]))


@dataclass(frozen=True, eq=False)
class GraphInputs:
    """The memory that a graph reads its batch from; smaller sizes use the beginning of it."""

    input_ids: Tensor
    token_types: Tensor
    position_ids: Tensor
    cu_seqlens: Tensor

    @classmethod
    def of(cls, *, tokens: int, device: torch.device) -> Self:
        """Return room for batches of this many tokens, whatever their sequences."""
        ids, types, places = (torch.zeros(tokens, dtype=torch.int64, device=device) for _ in range(3))
        sequences = padded_size(tokens=tokens, sequences=tokens, longest=1, positions=1).sequences
        return cls(ids, types, places, torch.zeros(sequences + 1, dtype=torch.int32, device=device))

    def fill(self, packed: PackedTokens) -> None:
        """Copy a padded batch here."""
        assert packed.token_types is not None
        for slot, values in (
            (self.input_ids, packed.input_ids),
            (self.token_types, packed.token_types),
            (self.position_ids, packed.position_ids),
            (self.cu_seqlens, packed.cu_seqlens),
        ):
            slot[: len(values)].copy_(values)

    def batch(self, size: PaddedSize) -> PackedTokens:
        """Return a batch of this size that views these inputs; a new one for each recording.

        It has no lengths and no runs: these lie on the host, and a graph cannot read from the host.
        """
        tokens = size.tokens
        return PackedTokens(
            input_ids=self.input_ids[:tokens],
            token_types=self.token_types[:tokens],
            position_ids=self.position_ids[:tokens],
            cu_seqlens=self.cu_seqlens[: size.sequences + 1],
            lengths=torch.zeros(0, dtype=torch.int64),
            max_length=size.longest,
            runs=(),
        )
