"""A unit's distinct inputs as one model sees them."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.encode.items import distinct_items
from corpusmill.pipeline.input.units import Unit

NUMBER = st.none() | st.integers(0, 3)
ROWS = st.lists(st.tuples(NUMBER, NUMBER), max_size=12)
PLACES = {"starts": [[0, 2], [], [5]], "ends": [[1, 4], [], [6]], "begins": [[True, False], [], [True]]}


def block(columns: dict[str, list[Any]], tables: dict[str, pa.Table]) -> UnitBlock:
    inputs = pa.table({name: pa.array(values, pa.int32()) for name, values in columns.items()})
    return UnitBlock(Unit("u", "/in", 0, 0), pa.table({}), inputs, tables=tables)


IDS = pa.list_(pa.int32())


def table(kind: pa.DataType = IDS, **columns: list[Any]) -> pa.Table:
    lists = {name: pa.array(values, kind) for name, values in columns.items() if name == "ids"}
    return pa.table(lists | {name: values for name, values in columns.items() if name != "ids"})


FOUR = table(ids=[[1], [2], [], [3, 4]])


@settings(derandomize=True, deadline=None)
@given(rows=ROWS, pairs=st.booleans())
def test_equal_rows_are_one_item(rows: list[tuple[int | None, int | None]], pairs: bool) -> None:
    """Equal in all that the model reads; a row that lacks some of it has none."""
    names = ("text", "text_pair") if pairs else ("text",)
    columns = {"text": [row[0] for row in rows], "text_pair": [row[1] for row in rows]}
    found = distinct_items(block(columns, {"k.text": FOUR, "k.text_pair": FOUR}), "k", names)
    assert set(found.rows) == set(names)
    keys = [row if pairs else row[:1] for row in rows]
    items = list(zip(*(found.rows[name].tolist() for name in names), strict=True))
    assert len(found) == len(items) == len(set(items))
    assert items == sorted(key for key in set(keys) if None not in key)
    assert [None if i < 0 else items[i] for i in found.of_row.tolist()] == [
        None if None in key else key for key in keys
    ]


def test_a_second_column_that_the_model_does_not_read_does_not_count() -> None:
    """Its nulls neither."""
    found = distinct_items(block({"text": [0, 0], "text_pair": [1, None]}, {"k.text": FOUR}), "k", ("text",))
    assert (len(found), found.of_row.tolist()) == (1, [0, 0])


def test_places_are_flat_beside_the_ids() -> None:
    """One value a token, and the texts where spans are cut out of them."""
    tables = {"k.text": table(ids=[[7, 8], [], [9]], **PLACES), "text": pa.table({"text": ["ab c", "", "x"]})}
    found = distinct_items(block({"text": [0, 1, 2]}, tables), "k", ("text",))
    places = found.text.places
    assert found.text.ids.values.tolist() == [7, 8, 9]
    assert [np.asarray(value).tolist() for value in (places.starts, places.ends)] == [[0, 2, 5], [1, 4, 6]]
    assert np.asarray(places.begins).tolist() == [True, False, True]
    assert found.texts_of(np.array([2, 0, 2])) == ["x", "ab c", "x"]


def test_what_was_not_asked_for_is_not_there() -> None:
    """An error of the task that forgot to ask, not an empty result."""
    found = distinct_items(block({"text": [0]}, {"k.text": FOUR}), "k", ("text",))
    with pytest.raises(ValueError, match="was not asked for offsets"):
        found.texts_of(np.array([0]))
    with pytest.raises(ValueError, match="was not asked for offsets"):
        _ = found.text.places
    with pytest.raises(ValueError, match="holds single texts"):
        _ = found.text.lists


@pytest.mark.parametrize("skip", [0, 1])
def test_lists_of_texts_are_numbers_of_texts(skip: int) -> None:
    """`ids` are the texts of all lists; also of a slice."""
    kind = pa.list_(pa.list_(pa.int32()))
    whole = table(kind, ids=[[[1], [2, 3]], [], [[4], [], [5]]]).slice(skip)
    columns = {"text": [0], "text_pair": [0]}
    found = distinct_items(block(columns, {"k.text": FOUR, "k.text_pair": whole}), "k", ("text", "text_pair"))
    second = found.tables["text_pair"]
    texts = [part.tolist() for part in np.split(second.ids.values, second.ids.offsets[1:-1])]
    every = np.arange(len(second.lists))
    lists = [[texts[i] for i in second.lists.take(every[n : n + 1]).values] for n in every]
    assert lists == whole["ids"].to_pylist()


def test_lengths_are_those_that_the_tokenization_states() -> None:
    """Else the numbers of tokens."""
    stated = FOUR.append_column("lengths", pa.array([5, 1, 0, 9]))
    for made, expected in ((FOUR, [1, 1, 0, 2]), (stated, [5, 1, 0, 9])):
        found = distinct_items(block({"text": [0]}, {"k.text": made}), "k", ("text",))
        assert found.text.lengths.tolist() == expected
