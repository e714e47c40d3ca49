"""A batch that the model fails on is halved and tried again, down to the sequences that it cannot take.

Out of memory and any other exception are treated alike: half a batch needs less memory, and holds fewer
sequences that could be at fault. Not so a device that is broken: what comes after on it fails too.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from corpusmill.pipeline.encode.batches import TokenBatch
from corpusmill.pipeline.errors import DeviceLost, first_line, in_a_line
from corpusmill.pipeline.ragged import Array, Int
from corpusmill.pipeline.tasks.task import Values

OUT_OF_MEMORY = ("not enough memory", "can't allocate memory", "out of memory", "failed to allocate")
DEVICE_LOST = ("cuda error", "device-side assert", "cublas_status_", "cudnn_status_internal_error")


@dataclass(frozen=True, slots=True)
class ComputedSequences:
    """What the sequences `rows` gave."""

    rows: Int
    values: Values

    def only(self, good: Array) -> "ComputedSequences":
        """Leave out the sequences n for which not `good[n]`."""
        chosen = good[self.rows]
        counts = np.ones(len(chosen), np.int64) if self.values.counts is None else self.values.counts
        arrays = tuple(array[np.repeat(chosen, counts)] for array in self.values.arrays)
        return ComputedSequences(self.rows[chosen], Values(arrays, counts[chosen]))


@dataclass(frozen=True, slots=True)
class RefusedSequence:
    """A sequence that the model could not take, even alone."""

    row: int
    reason: str


def run_in_halves(
    batch: TokenBatch, values: Callable[[TokenBatch], Values]
) -> Iterator[ComputedSequences | RefusedSequence]:
    """Run a batch, in as many pieces as it takes; DeviceLost if the device is not usable any more."""
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
    """Cut a batch into two of about as many sequences."""
    middle = len(batch.rows) // 2
    return [_cut_out(batch, 0, middle), _cut_out(batch, middle, len(batch.rows))]


def _cut_out(batch: TokenBatch, start: int, stop: int) -> TokenBatch:
    ends = batch.lengths.cumsum()
    first, last = int(ends[start - 1]) if start else 0, int(ends[stop - 1])
    types = None if batch.types is None else batch.types[first:last]
    return TokenBatch(batch.rows[start:stop], batch.ids[first:last], batch.lengths[start:stop], types)


def _attempt(batch: TokenBatch, values: Callable[[TokenBatch], Values]) -> Values | str:
    """Run a batch, or say why that failed. The tensors of a failure are gone when this returns."""
    try:
        return values(batch)
    except Exception as error:
        reason = _reason(error)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return reason


def out_of_memory(error: Exception) -> bool:
    """Say whether something failed for want of memory, of the host or of a GPU."""
    said = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        sign in said for sign in OUT_OF_MEMORY
    )


def _reason(error: Exception) -> str:
    said = str(error).lower()
    if out_of_memory(error):
        return "not enough memory for this row, even alone"  # the message's figures differ from run to run
    if any(sign in said for sign in DEVICE_LOST):
        raise DeviceLost(f"the device cannot be used any more ({first_line(error)})") from error
    return f"the model cannot take this row ({in_a_line(error)})"
