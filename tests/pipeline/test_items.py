"""A unit's distinct inputs as one model sees them."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.items import items_of
from corpusmill.pipeline.units import Unit

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
    found = items_of(block(columns, {"k.text": FOUR, "k.text_pair": FOUR}), "k", names)
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
    found = items_of(block({"text": [0, 0], "text_pair": [1, None]}, {"k.text": FOUR}), "k", ("text",))
    assert (len(found), found.of_row.tolist(), found.texts) == (1, [0, 0], None)


def test_places_are_flat_beside_the_ids() -> None:
    """One value a token, and the texts where spans are cut out of them."""
    tables = {"k.text": table(ids=[[7, 8], [], [9]], **PLACES), "text": pa.table({"text": ["ab c", "", "x"]})}
    found = items_of(block({"text": [0, 1, 2]}, tables), "k", ("text",))
    assert found.text.ids.values.tolist() == [7, 8, 9]
    assert [np.asarray(value).tolist() for value in (found.text.starts, found.text.ends)] == [
        [0, 2, 5],
        [1, 4, 6],
    ]
    assert np.asarray(found.text.begins).tolist() == [True, False, True]
    assert found.texts is not None
    assert found.texts.to_pylist() == ["ab c", "", "x"]


@pytest.mark.parametrize("skip", [0, 1])
def test_lists_of_texts_are_groups_of_texts(skip: int) -> None:
    """`ids` are the texts of all lists; also of a slice."""
    kind = pa.list_(pa.list_(pa.int32()))
    whole = table(kind, ids=[[[1], [2, 3]], [], [[4], [], [5]]]).slice(skip)
    columns = {"text": [0], "text_pair": [0]}
    found = items_of(block(columns, {"k.text": FOUR, "k.text_pair": whole}), "k", ("text", "text_pair"))
    second = found.tables["text_pair"]
    assert second.groups is not None
    texts = [part.tolist() for part in np.split(second.ids.values, second.ids.offsets[1:-1])]
    lists = [texts[start:stop] for start, stop in zip(second.groups, second.groups[1:], strict=False)]
    assert lists == whole["ids"].to_pylist()
