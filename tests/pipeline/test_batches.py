"""Rows of a unit to packed batches: every valid row once, longest first, within the budget."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpusmill.pipeline.batches import TokenBatch, token_batches

ROWS = st.lists(st.none() | st.lists(st.integers(0, 99), max_size=9), max_size=25)


def arrays(rows: list[list[int] | None]) -> tuple[pa.ListArray, pa.ListArray]:
    types = [None if row is None else [i % 2 for i in range(len(row))] for row in rows]
    return pa.array(rows, pa.list_(pa.int32())), pa.array(types, pa.list_(pa.int8()))


def rows_of(batch: TokenBatch) -> list[list[int]]:
    return [part.tolist() for part in np.split(batch.ids, np.cumsum(batch.lengths)[:-1])]


@settings(max_examples=300, derandomize=True, deadline=None)
@given(rows=ROWS, budget=st.integers(1, 30), start=st.integers(0, 3))
def test_every_valid_row_is_in_one_batch(rows: list[list[int] | None], budget: int, start: int) -> None:
    """That has tokens; with its own ids and types, longest first, also of a slice.

    A batch goes over the budget only with a single row.
    """
    ids, types = (array.slice(start) for array in arrays(rows))
    batches = list(token_batches(ids, types, tokens_per_batch=budget))
    found = {
        int(row): value for batch in batches for row, value in zip(batch.rows, rows_of(batch), strict=True)
    }
    assert found == {i: row for i, row in enumerate(rows[start:]) if row}
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
def test_batches_are_full(rows: list[list[int] | None], budget: int) -> None:
    """The next row would not have fitted: no needless batch."""
    batches = list(token_batches(arrays(rows)[0], None, tokens_per_batch=budget))
    for batch, following in pairwise(batches):
        assert batch.ids.size + following.lengths[0] > budget


@pytest.mark.parametrize("rows", [[], [None], [None, None]], ids=["no row", "one null", "nulls"])
def test_a_unit_without_texts_has_no_batch(rows: list[None]) -> None:
    """The model is not called."""
    assert list(token_batches(arrays(rows)[0], None, tokens_per_batch=8)) == []


def test_rows_of_one_length_keep_their_order() -> None:
    """So that the same unit makes the same batches on every worker."""
    (batch,) = token_batches(arrays([[1, 1], [2], [3, 3], [4], [5, 5]])[0], None, tokens_per_batch=100)
    assert batch.rows.tolist() == [0, 2, 4, 1, 3]
    assert batch.types is None
