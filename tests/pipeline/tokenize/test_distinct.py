"""Distinct texts of a column: every row finds its own again."""

from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpusmill.pipeline.tokenize.distinct import DistinctTexts, distinct_texts

TEXT = st.sampled_from(["", "a", "b", "A", "é", "e\u0301", "a ", "\0"])
TEXTS = st.lists(st.none() | TEXT, max_size=12)
LISTS = st.lists(st.none() | st.lists(st.none() | TEXT, max_size=3), max_size=12)
KINDS = [pa.string(), pa.large_string()]


def column(rows: list[Any], kind: pa.DataType, cut: int) -> pa.ChunkedArray:
    """The rows in two chunks, the first a slice."""
    first = pa.array([None, *rows[:cut]], kind).slice(1)
    return pa.chunked_array([first, pa.array(rows[cut:], kind)], kind)


def texts_of(found: DistinctTexts) -> list[Any]:
    return [None if number is None else found.values[number] for number in found.index.to_pylist()]


def lists_of(found: DistinctTexts) -> list[Any]:
    assert found.groups is not None
    offsets = found.groups.to_pylist()
    lists = [found.values[start:stop] for start, stop in pairwise(offsets)]
    return [None if number is None else lists[number] for number in found.index.to_pylist()]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@settings(derandomize=True, deadline=None)
@given(rows=TEXTS, deduplicate=st.booleans(), cut=st.integers(0, 12))
def test_every_row_finds_its_text(
    kind: pa.DataType, rows: list[str | None], deduplicate: bool, cut: int
) -> None:
    """In order of first appearance, each text once, or each row's own; null stays null."""
    found = distinct_texts(column(rows, kind, cut), deduplicate=deduplicate)
    assert texts_of(found) == rows
    present = [row for row in rows if row is not None]
    assert found.values == (list(dict.fromkeys(present)) if deduplicate else present)
    assert (found.index.type, found.groups) == (pa.int32(), None)


@pytest.mark.parametrize("kind", [pa.list_(pa.string()), pa.large_list(pa.large_string())], ids=str)
@settings(derandomize=True, deadline=None)
@given(rows=LISTS, deduplicate=st.booleans(), cut=st.integers(0, 12))
def test_every_row_finds_its_list_of_texts(
    kind: pa.DataType, rows: list[Any], deduplicate: bool, cut: int
) -> None:
    """Lists are told apart by their texts and their cuts; one with a null in it counts as null."""
    found = distinct_texts(column(rows, kind, cut), deduplicate=deduplicate)
    usable = [None if row is None or None in row else row for row in rows]
    assert lists_of(found) == usable
    present = [tuple(row) for row in usable if row is not None]
    expected = list(dict.fromkeys(present)) if deduplicate else present
    assert found.values == [text for row in expected for text in row]
    assert found.index.type == found.groups.type == pa.int32()
    assert np.diff(np.asarray(found.groups)).tolist() == [len(row) for row in expected]


@pytest.mark.parametrize("kind", [*KINDS, pa.list_(pa.string())], ids=str)
@pytest.mark.parametrize("deduplicate", [True, False])
def test_a_column_without_rows(kind: pa.DataType, deduplicate: bool) -> None:
    """Without chunks, as an empty table has it."""
    found = distinct_texts(pa.chunked_array([], kind), deduplicate=deduplicate)
    assert (found.values, found.index.to_pylist()) == ([], [])
