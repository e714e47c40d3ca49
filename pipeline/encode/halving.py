"""Halving of a batch on which the model fails, down to the sequences that the model cannot take.

Out of memory and all other exceptions are treated alike: half a batch needs less memory, and has fewer
sequences that may be at fault. A broken device is different: every later batch fails on it too.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from corpusmill.pipeline.encode.batches import TokenBatch
from corpusmill.pipeline.errors import DeviceLost, first_line, in_a_line
from corpusmill.pipeline.ragged import Array, Int
from corpusmill.pipeline.tasks.task import Values

OUT_OF_MEMORY = ("not enough memory", "can't allocate memory", "out of memory", "failed to allocate")
DEVICE_LOST = ("cuda error", "device-side assert", "cublas_status_", "cudnn_status_internal_error")

NOT_FINITE = "the model's result is not finite (NaN or infinity)"
"""The reason of a reject whose result would have a value that is no number."""


@dataclass(frozen=True, slots=True)
class ComputedSequences:
    """The values of the sequences with the numbers `rows`."""

    rows: Int
    values: Values

    def only(self, good: Array) -> "ComputedSequences":
        """Return the values of the sequences n with `good[n]`."""
        return self.kept(good[self.rows])

    def kept(self, chosen: Array) -> "ComputedSequences":
        """Return the values of some of the sequences: `chosen` (n,) has a truth value for each."""
        counts = np.ones(len(chosen), np.int64) if self.values.counts is None else self.values.counts
        arrays = tuple(array[np.repeat(chosen, counts)] for array in self.values.arrays)
        return ComputedSequences(
            self.rows[chosen], replace(self.values, arrays=arrays, counts=counts[chosen])
        )


@dataclass(frozen=True, slots=True)
class RefusedSequence:
    """A sequence that the model could not take even alone, and the reason."""

    row: int
    reason: str


def refuse_not_finite(
    found: ComputedSequences | RefusedSequence,
) -> Iterator[ComputedSequences | RefusedSequence]:
    """Yield the sequences of a batch whose values are finite, and refuse the others.

    No operation of a model mixes sequences, so a value that is not finite spoils its own sequence only.
    """
    finite = found.values.finite if isinstance(found, ComputedSequences) else None
    if isinstance(found, RefusedSequence) or finite is None:
        yield found
        return
    if finite.any():
        yield found.kept(finite)
    yield from (RefusedSequence(int(row), NOT_FINITE) for row in found.rows[~finite])


def run_in_halves(
    batch: TokenBatch, values: Callable[[TokenBatch], Values]
) -> Iterator[ComputedSequences | RefusedSequence]:
    """Run a batch, cut in half as often as it fails; DeviceLost if the device cannot be used any more."""
    todo = [batch]
    while todo:
        batch = todo.pop()
        found = _attempt(batch, values)
        if isinstance(found, Values):
            yield ComputedSequences(batch.rows, found)
        elif len(batch.rows) == 1:
            yield RefusedSequence(int(batch.rows[0]), found)
        else:
            todo += reversed(split_in_half(batch))


def split_in_half(batch: TokenBatch) -> list[TokenBatch]:
    """Cut a batch into two with about the same number of sequences."""
    middle = len(batch.rows) // 2
    return [_cut_out(batch, 0, middle), _cut_out(batch, middle, len(batch.rows))]


def _cut_out(batch: TokenBatch, start: int, stop: int) -> TokenBatch:
    ends = batch.lengths.cumsum()
    first, last = int(ends[start - 1]) if start else 0, int(ends[stop - 1])
    types = None if batch.types is None else batch.types[first:last]
    return TokenBatch(batch.rows[start:stop], batch.ids[first:last], batch.lengths[start:stop], types)


def _attempt(batch: TokenBatch, values: Callable[[TokenBatch], Values]) -> Values | str:
    """Run a batch, or return why it failed; the tensors of a failed batch are freed on return."""
    try:
        return values(batch)
    except Exception as error:
        reason = _reason(error)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return reason


def out_of_memory(error: Exception) -> bool:
    """Return whether the cause of an error is too little memory, of the host or of a GPU."""
    said = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        sign in said for sign in OUT_OF_MEMORY
    )


def _reason(error: Exception) -> str:
    said = str(error).lower()
    if out_of_memory(error):
        return "not enough memory for this row, even alone"  # the message has figures that vary
    if any(sign in said for sign in DEVICE_LOST):
        raise DeviceLost(f"the device cannot be used any more ({first_line(error)})") from error
    return f"the model cannot take this row ({in_a_line(error)})"
