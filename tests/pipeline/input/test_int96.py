"""Timestamps that Parquet stores as INT96: all of Spark's years, and no value turned into another."""

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.input.readers import READERS
from corpusmill.pipeline.input.readers.int96 import lost_timestamps
from corpusmill.pipeline.spec import InputSpec
from corpusmill.pipeline.storage import StoredFile, stat_file

Write = Callable[..., StoredFile]
Ask = Callable[..., InputSpec]
Read = Callable[..., list[UnitBlock]]

US = pa.timestamp("us")
FIRST, LAST = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999)
YEARS = [
    FIRST,
    datetime(1677, 9, 21),
    datetime(1969, 12, 31, 23, 59, 59, 1),
    None,
    datetime(2262, 4, 12),
    LAST,
]
NESTED = [
    pa.array([[value, None] for value in YEARS], pa.list_(US)),
    pa.array([[value, value] for value in YEARS], pa.list_(US, 2)),
    pa.array([[value] for value in YEARS], pa.large_list(US)),
    pa.array([{"a": 1, "t": value} for value in YEARS], pa.struct([("a", pa.int64()), ("t", US)])),
    pa.array([[("k", value)] for value in YEARS], pa.map_(pa.string(), US)),
    pa.array([[{"t": [value]}] for value in YEARS], pa.list_(pa.struct([("t", pa.list_(US))]))),
]
MARKER = datetime(2000, 1, 1)
MARKER_DAY = 2_451_545
DAY_NANOS = 86_400 * 10**9


def texts(rows: int) -> list[str]:
    return [f"text {i}" for i in range(rows)]


def as_int96(parquet: Write, values: pa.Array, **options: Any) -> StoredFile:
    table = pa.table({"text": texts(len(values)), "t": values})
    return parquet(table, use_deprecated_int96_timestamps=True, **options)


def kept(blocks: list[UnitBlock]) -> pa.ChunkedArray:
    return pa.concat_tables([block.kept for block in blocks])["t"]


@pytest.fixture
def read_all(asking: Ask, reading: Read) -> Callable[..., list[UnitBlock]]:
    """Read a file with the types that its own schema names, as a job of this one file does."""

    def read(file: StoredFile, **options: Any) -> list[UnitBlock]:
        return reading(file, asking(READERS["parquet"].schema(file), "t"), **options)

    return read


@pytest.fixture
def patched(parquet: Write) -> Callable[..., StoredFile]:
    """Write a file of two rows; the second one's INT96 is the day and the nanoseconds given."""

    def write(day: int, nanos: int) -> StoredFile:
        plain = {"compression": "none", "use_dictionary": False, "write_statistics": False}
        file = as_int96(parquet, pa.array([datetime(2024, 1, 1), MARKER], US), **plain)
        content = Path(file.url).read_bytes()
        marker = struct.pack("<QI", 0, MARKER_DAY)
        assert content.count(marker) == 1
        patch = struct.pack("<QI", nanos % 2**64, day % 2**32)
        Path(file.url).write_bytes(content.replace(marker, patch))
        return stat_file(file.url)

    return write


@pytest.mark.parametrize("rows_per_unit", [1, 4, 100])
def test_all_years_of_spark_are_read_as_they_are(
    parquet: Write, read_all: Callable[..., list[UnitBlock]], rows_per_unit: int
) -> None:
    """From 0001 to 9999, to the microsecond; DuckDB reads the same of the same file."""
    file = as_int96(parquet, pa.array(YEARS, US), row_group_size=5)
    blocks = read_all(file, rows_per_unit=rows_per_unit)
    found = kept(blocks)
    assert found.type == US
    assert found.to_pylist() == YEARS
    assert [block.rejects for block in blocks if block.rejects] == []
    assert duckdb.sql(f"select t from '{file.url}'").fetchall() == [(value,) for value in YEARS]


@pytest.mark.parametrize("values", NESTED, ids=lambda values: str(values.type))
def test_nested_timestamps_too(
    parquet: Write, read_all: Callable[..., list[UnitBlock]], values: pa.Array
) -> None:
    """In lists, structs, maps and what they hold: microseconds, with nothing changed."""
    blocks = read_all(as_int96(parquet, values), rows_per_unit=4)
    assert kept(blocks).to_pylist() == values.to_pylist()
    assert not any(block.rejects for block in blocks)


@pytest.mark.parametrize("nest", [lambda v: v, lambda v: [None, v], lambda v: {"n": 5, "t": v}])
def test_nanoseconds_are_a_reject(
    parquet: Write, read_all: Callable[..., list[UnitBlock]], nest: Callable[[Any], Any]
) -> None:
    """Microseconds would cut them off: that row alone is refused, with the whole value in the reason."""
    ns = pa.timestamp("ns")
    kind = {list: pa.list_(ns), dict: pa.struct([("n", pa.int64()), ("t", ns)])}.get(type(nest(0)), ns)
    values = pa.array([nest(v) for v in (10**18, 10**18 + 123_456_789, None, -1000)], kind)
    (block,) = read_all(as_int96(parquet, values))
    assert block.inputs["text"].to_pylist() == ["text 0", "text 2", "text 3"]
    (reject,) = block.rejects
    assert reject.row == 1
    assert reject.reason == (
        "column 't': expected timestamp[us], got the INT96 2001-09-09T01:46:40.123456789, whose fraction is "
        "finer than those that microseconds can hold"
    )


@dataclass(frozen=True)
class Stored:
    """An INT96 as its two numbers, and what becomes of it: microseconds, or words of the reason."""

    day: int
    nanos: int
    micros: int | None
    words: str = ""


LAST_DAY = 2_440_588 + 2**63 // (86_400 * 10**6)
STORED = {
    "the largest day that fits": Stored(
        LAST_DAY - 1, DAY_NANOS - 1000, (LAST_DAY - 2_440_588) * 86_400 * 10**6 - 1
    ),
    "the first day that does not": Stored(
        LAST_DAY + 1, 0, None, "294247-01-11T00:00:00.000000000, whose year"
    ),
    "a day far beyond": Stored(2**32 - 1, 0, None, "whose year is beyond"),
    "the first day that Arrow reads": Stored(1, 0, -2_440_587 * 86_400 * 10**6),
    "nanoseconds beyond a day": Stored(MARKER_DAY, DAY_NANOS + 5000, 946_771_200_000_005),
    "negative nanoseconds": Stored(MARKER_DAY, -1000, None, "whose"),
    "nanoseconds beyond all": Stored(MARKER_DAY, 2**63 + 1, None, "whose"),
}


@pytest.mark.parametrize("stored", STORED.values(), ids=list(STORED))
def test_stored_numbers_are_that_time_or_a_reject(
    patched: Callable[..., StoredFile], read_all: Callable[..., list[UnitBlock]], stored: Stored
) -> None:
    """Whatever two numbers a file holds; years that Python has no date for included."""
    (block,) = read_all(patched(stored.day, stored.nanos))
    if stored.micros is not None:
        assert block.kept["t"].cast(pa.int64()).to_pylist()[1:] == [stored.micros]
        return
    assert block.rows == 1
    (reject,) = block.rejects
    assert reject.row == 1
    assert stored.words in reject.reason
    assert json.loads(reject.raw)["text"] == "text 1"


def test_only_rows_of_the_column_at_fault_are_named() -> None:
    """Two columns, one row each: each reason names its column."""
    micros = pa.table({"a": pa.array([1, 0], US), "b": pa.array([0, 1], US)})
    seconds = pa.table({name: pa.array([0, 0], pa.timestamp("s")) for name in "ab"})
    nanos = pa.table(
        {"a": pa.array([1001, 0], pa.timestamp("ns")), "b": pa.array([0, 1001], pa.timestamp("ns"))}
    )
    found = lost_timestamps(micros, [seconds, nanos])
    assert {row: reason.partition(":")[0] for row, reason in found.items()} == {
        0: "column 'a'",
        1: "column 'b'",
    }
