"""Halving: what fails in company is tried alone, and only what fails alone is refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from corpusmill.pipeline.encode.batches import TokenBatch
from corpusmill.pipeline.encode.halving import ComputedSequences, RefusedSequence, run_in_halves
from corpusmill.pipeline.errors import DeviceLost
from corpusmill.pipeline.tasks.task import Values

LENGTHS = np.array([9, 7, 5, 4, 3, 1, 1], np.int64)
BATCH = TokenBatch(
    np.array([3, 0, 6, 2, 5, 1, 4]),
    np.repeat(np.arange(7, dtype=np.int32), LENGTHS),
    LENGTHS,
    np.repeat(np.arange(7, dtype=np.int8) % 2, LENGTHS),
)


def lengths_of(batch: TokenBatch) -> Values:
    """What a batch gives here: each sequence's length, which its ids and types have to agree with."""
    assert len(batch.ids) == len(batch.types if batch.types is not None else ()) == batch.lengths.sum()
    assert (
        np.diff(np.flatnonzero(np.diff(batch.ids, prepend=-1)), append=len(batch.ids)) == batch.lengths
    ).all()
    return Values((batch.lengths.copy(),))


def failing(fails: Callable[[TokenBatch], bool], error: Exception) -> Callable[[TokenBatch], Values]:
    """Compute batches but for some."""

    def values(batch: TokenBatch) -> Values:
        if fails(batch):
            raise error
        return lengths_of(batch)

    return values


def run(values: Callable[[TokenBatch], Values]) -> tuple[dict[int, int], dict[int, str]]:
    """Return sequence → length of those computed, and sequence → reason of the others."""
    found, failed = {}, {}
    for part in run_in_halves(BATCH, values):
        if isinstance(part, RefusedSequence):
            failed[part.row] = part.reason
        else:
            found |= dict(zip(part.rows.tolist(), part.values.arrays[0].tolist(), strict=True))
    return found, failed


EVERY = dict(zip(BATCH.rows.tolist(), LENGTHS.tolist(), strict=True))


@pytest.mark.parametrize("most", [1, 2, 3, 7])
@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_a_batch_that_does_not_fit_is_computed_in_smaller_ones(most: int, error: Exception) -> None:
    """However few sequences fit at once, each is computed, once."""
    assert run(failing(lambda batch: len(batch.rows) > most, error)) == (EVERY, {})


@pytest.mark.parametrize("bad", [{0}, {3, 4}, {1, 6}, set(range(7))])
def test_only_what_fails_alone_is_refused(bad: set[int]) -> None:
    """The others are computed whatever shared their batch."""
    found, failed = run(
        failing(lambda batch: bool(bad & set(batch.rows.tolist())), IndexError("out of range"))
    )
    assert found == {row: length for row, length in EVERY.items() if row not in bad}
    assert failed == dict.fromkeys(bad, "the model cannot take this row (IndexError: out of range)")


def test_a_sequence_too_large_even_alone() -> None:
    """The reason holds no figures of the moment, so that two runs write the same."""
    _, failed = run(failing(lambda batch: 3 in batch.rows, RuntimeError("CUDA out of memory. Tried 2 GiB")))
    assert failed == {3: "not enough memory for this row, even alone"}


def test_a_broken_device_is_not_blamed_on_rows() -> None:
    """After an error of the device itself nothing it says can be believed."""
    error = RuntimeError("CUDA error: device-side assert triggered")
    with pytest.raises(DeviceLost, match="device-side assert"):
        run(failing(lambda _: True, error))


def test_the_values_of_chosen_sequences_are_kept() -> None:
    """Sequences with several values each keep theirs."""
    values = Values((np.arange(6), np.arange(6) * 10.0), np.array([1, 3, 2]))
    part = ComputedSequences(np.array([2, 0, 1]), values).only(np.array([True, True, False]))
    kept: Any = part.values
    assert part.rows.tolist() == [0, 1]
    assert kept.arrays[0].tolist() == [1, 2, 3, 4, 5]
    assert kept.counts.tolist() == [3, 2]
