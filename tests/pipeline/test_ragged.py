"""Lists of different lengths in one flat array."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpusmill.pipeline.ragged import Ragged, ranges

LISTS = st.lists(st.lists(st.integers(-9, 9), max_size=5), max_size=8)


def lists_of(ragged: Ragged) -> list[list[int]]:
    return [part.tolist() for part in np.split(ragged.values, ragged.offsets[1:-1])][: len(ragged)]


def ragged_of(lists: list[list[int]]) -> Ragged:
    values = np.array([value for one in lists for value in one], np.int32)
    return Ragged.of_lengths(values, np.array([len(one) for one in lists], np.int64))


@settings(derandomize=True, deadline=None)
@given(lists=LISTS)
def test_lists_come_back(lists: list[list[int]]) -> None:
    """Cut by their lengths, empty ones included."""
    ragged = ragged_of(lists)
    assert lists_of(ragged) == lists
    assert (len(ragged), ragged.lengths.tolist()) == (len(lists), [len(one) for one in lists])
    assert ragged.offsets.dtype == np.int64


@settings(derandomize=True, deadline=None)
@given(lists=LISTS, cut=st.integers(0, 8), chunks=st.integers(1, 3), large=st.booleans())
def test_arrow_lists_are_viewed(lists: list[list[int]], cut: int, chunks: int, large: bool) -> None:
    """Slices and chunks too: values before and after them are not in it."""
    kind = pa.large_list(pa.int32()) if large else pa.list_(pa.int32())
    array = pa.array(lists, kind).slice(cut)
    assert lists_of(Ragged.of_arrow(array)) == lists[cut:]
    assert Ragged.of_arrow(array).values.size == sum(map(len, lists[cut:]))
    chunked = pa.chunked_array([pa.array(lists, kind)] * chunks)
    assert lists_of(Ragged.of_arrow(chunked)) == lists * chunks


@settings(derandomize=True, deadline=None)
@given(data=st.data(), lists=LISTS)
def test_lists_are_taken_in_the_order_given(data: st.DataObject, lists: list[list[int]]) -> None:
    """Any number of times each."""
    places = st.lists(st.integers(0, len(lists) - 1), max_size=9) if lists else st.just([])
    chosen = data.draw(places)
    taken = ragged_of(lists).take(np.array(chosen, np.int64))
    assert lists_of(taken) == [lists[i] for i in chosen]


@settings(derandomize=True, deadline=None)
@given(pairs=st.lists(st.tuples(st.integers(0, 99), st.integers(0, 5)), max_size=8))
def test_ranges_follow_each_other(pairs: list[tuple[int, int]]) -> None:
    """Also empty ones, and none at all."""
    starts, lengths = (np.array([pair[i] for pair in pairs], np.int64) for i in (0, 1))
    assert ranges(starts, lengths).tolist() == [s + i for s, n in pairs for i in range(n)]


@pytest.mark.parametrize("lists", [[], [[]]])
def test_nothing_is_an_empty_array(lists: list[list[int]]) -> None:
    """Of the values' own type."""
    assert ragged_of(lists).values.dtype == np.int32
    assert ragged_of(lists).take(np.zeros(0, np.int64)).values.size == 0
