"""A unit packed into one row and back: nothing is lost, whatever it holds."""

import datetime

import pyarrow as pa
import pytest

from corpusmill.pipeline.blocks import (
    Reject,
    UnitBlock,
    failed_block,
    pack_block,
    unpack_block,
    unpack_summary,
)
from corpusmill.pipeline.input.units import Unit

UNIT = Unit("key-00000-000000008-8", '/in/ü "quoted".jsonl', 8, None)
KEPT = pa.table(
    {
        "id": [1, None],
        "tags": [["a"], None],
        "meta": [{"a": 1, "b": [1.5]}, None],
        "cat": pa.array(["x", None]).dictionary_encode(),
        "when": pa.array([datetime.datetime(2020, 1, 1), None], pa.timestamp("us", "UTC")),
        "map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int8())),
        "view": pa.array(["a", "longer than twelve bytes"], pa.string_view()),
        "uuid": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16, None], pa.binary(16))),
    }
).replace_schema_metadata({"note": "kept too"})
INPUTS = pa.table({"text": pa.array(["a", None], pa.large_string())})
REJECTS = (Reject(10, "column 'a': \"why\"\n", '\x00\x1f\u2028\udcff \\ " 😀'), Reject(2**40, "", ""))


def block(kept: pa.Table = KEPT, inputs: pa.Table = INPUTS) -> UnitBlock:
    return UnitBlock(UNIT, kept, inputs, REJECTS, 4, True, {"key.1": 7})


@pytest.mark.parametrize(
    "whole",
    [
        block(),
        block(KEPT.slice(1), INPUTS.slice(1)),
        block(KEPT.slice(0, 0), INPUTS.slice(0, 0)),
        block(pa.concat_tables([KEPT, KEPT]), pa.concat_tables([INPUTS, INPUTS])),
        block(pa.table({}), INPUTS),
        failed_block(UNIT, "no such file: 'ü'\nsecond line"),
    ],
    ids=["rows", "slice", "no rows", "chunks", "nothing kept", "failed"],
)
def test_a_block_comes_back_as_it_was(whole: UnitBlock) -> None:
    """Every field, every type, every value; and it is one row to whoever carries it."""
    row = pack_block(whole)
    found = unpack_block(row)
    assert row.num_rows == 1
    assert (
        found.unit,
        found.rejects,
        found.rows_read,
        found.last,
        found.tokens,
        found.error,
        found.rows,
    ) == (whole.unit, whole.rejects, whole.rows_read, whole.last, whole.tokens, whole.error, whole.rows)
    assert found.inputs.equals(whole.inputs)
    if whole.kept.num_columns:
        assert found.kept.equals(whole.kept)
        assert found.kept.schema.equals(whole.kept.schema, check_metadata=True)
    assert unpack_summary(row) == whole.summary()


def test_a_row_travels_over_ipc() -> None:
    """As between processes."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, pack_block(block()).schema) as writer:
        writer.write_table(pack_block(block()))
    assert unpack_block(pa.ipc.open_stream(sink.getvalue()).read_all()).kept.equals(KEPT)


def test_the_tables_of_a_tokenized_block_travel_with_it() -> None:
    """Under their names, which may hold any sign, with their types."""
    ids = pa.table({"ids": pa.array([[1, 2], []], pa.list_(pa.int32()))})
    nested = pa.table({"ids": pa.array([[[1], []], []], pa.list_(pa.list_(pa.int32())))})
    tables = {"0f.text": ids, "0f-1a.text_pair": nested, "text": pa.table({"text": ["a", "é"]})}
    whole = block().tokenized(pa.table({"text": pa.array([0, None], pa.int32())}), tables, {"0f": 2})
    found = unpack_block(pack_block(whole))
    assert dict(found.tables) == tables
    assert (found.inputs, found.tokens, found.rows) == (whole.inputs, {"0f": 2}, 2)


def test_a_slice_packs_its_own_rows_only() -> None:
    """A unit must not carry the file it was cut from."""
    large = pa.table({"text": pa.array(["x" * 1000] * 1000)})
    assert pack_block(block(large.slice(0, 2), large.slice(0, 2))).nbytes < 20_000


def test_the_summary_counts_what_the_driver_needs() -> None:
    """Without the rows."""
    summary = block().summary()
    assert (summary.unit, summary.rows, summary.rejected, summary.tokens, summary.error) == (
        UNIT,
        2,
        2,
        {"key.1": 7},
        None,
    )
