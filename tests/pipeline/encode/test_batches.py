"""Sequences of a unit to packed batches: every one once, longest first, within the budget."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from corpusmill.pipeline.encode.batches import TokenBatch, token_batches
from corpusmill.pipeline.encode.sequences import Sequences
from corpusmill.pipeline.ragged import Ragged

ROWS = st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=9), max_size=25)


def sequences(rows: list[list[int]], *, types: bool = False) -> Sequences:
    """These ids, as sequences without special tokens; a token's type is its place in its row, modulo 2."""
    lengths = np.array([len(row) for row in rows], np.int64)
    zero = np.zeros(len(rows), np.int64)
    places = [i % 2 for row in rows for i in range(len(row))]
    return Sequences(
        Ragged.of_lengths(np.array([i for row in rows for i in row], np.int32), lengths),
        np.array(places, np.int8) if types else None,
        np.arange(len(rows)),
        zero,
        zero,
        lengths,
        zero,
        zero.astype(bool),
    )


def rows_of(batch: TokenBatch) -> list[list[int]]:
    return [part.tolist() for part in np.split(batch.ids, np.cumsum(batch.lengths)[:-1])]


@settings(max_examples=300, derandomize=True, deadline=None)
@given(rows=ROWS, budget=st.integers(1, 30))
def test_every_sequence_is_in_one_batch(rows: list[list[int]], budget: int) -> None:
    """With its own ids and types, longest first.

    A batch goes over the budget only with a single sequence.
    """
    batches = list(token_batches(sequences(rows, types=True), tokens_per_batch=budget))
    found = {
        int(row): value for batch in batches for row, value in zip(batch.rows, rows_of(batch), strict=True)
    }
    assert found == dict(enumerate(rows))
    assert sum(len(batch.rows) for batch in batches) == len(found)
    lengths = [int(length) for batch in batches for length in batch.lengths]
    assert lengths == sorted(lengths, reverse=True)
    assert all(batch.ids.size == batch.lengths.sum() for batch in batches)
    assert all(batch.ids.size <= budget or len(batch.rows) == 1 for batch in batches)
    assert all(batch.types is not None and batch.types.size == batch.ids.size for batch in batches)
    assert all(
        kind == i % 2
        for batch in batches
        if batch.types is not None
        for part in np.split(batch.types, np.cumsum(batch.lengths)[:-1])
        for i, kind in enumerate(part.tolist())
    )


@settings(max_examples=100, derandomize=True, deadline=None)
@given(rows=ROWS, budget=st.integers(1, 30))
def test_batches_are_full(rows: list[list[int]], budget: int) -> None:
    """The next row would not have fitted: no needless batch."""
    batches = list(token_batches(sequences(rows), tokens_per_batch=budget))
    for batch, following in pairwise(batches):
        assert batch.ids.size + following.lengths[0] > budget


def test_a_unit_without_texts_has_no_batch() -> None:
    """The model is not called."""
    assert list(token_batches(sequences([]), tokens_per_batch=8)) == []


def test_rows_of_one_length_keep_their_order() -> None:
    """So that the same unit makes the same batches on every worker."""
    (batch,) = token_batches(sequences([[1, 1], [2], [3, 3], [4], [5, 5]]), tokens_per_batch=100)
    assert batch.rows.tolist() == [0, 2, 4, 1, 3]
    assert batch.types is None
