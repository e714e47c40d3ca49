"""The Parquet reader: which rows a unit holds, their types, and what a damaged file says."""

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.errors import BadRow, InputError
from corpusmill.pipeline.input.readers import READERS
from corpusmill.pipeline.input.readers.parquet import _regroup
from corpusmill.pipeline.input.schema import check_text, column_type, kept_columns
from corpusmill.pipeline.input.unit_size import UnitSizing
from corpusmill.pipeline.input.units import Split
from corpusmill.pipeline.spec import InputSpec
from corpusmill.pipeline.storage import StoredFile, stat_file

READER = READERS["parquet"]
Write = Callable[..., StoredFile]
Ask = Callable[..., InputSpec]
Read = Callable[..., list[UnitBlock]]
Plan = Callable[..., list[Split]]

TEXT_TYPES = [
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.dictionary(pa.int32(), pa.string()),
    pa.dictionary(pa.int8(), pa.large_string()),
]


def numbered(rows: int) -> pa.Table:
    return pa.table(
        {
            "id": pa.array(range(rows), pa.int64()),
            "text": pa.array([f"text {i}" for i in range(rows)]),
        }
    )


def invalid(values: list[bytes | None], kind: pa.DataType) -> pa.Array:
    """Bytes in a string column that nobody checked."""
    if pa.types.is_dictionary(kind):
        codes = pa.array(
            [None if value is None else code for code, value in enumerate(values)], kind.index_type
        )
        return pa.DictionaryArray.from_arrays(
            codes, invalid([value or b"" for value in values], kind.value_type)
        )
    return pa.Array.from_buffers(pa.string(), len(values), pa.array(values, pa.binary()).buffers()).cast(kind)


def ids(blocks: list[UnitBlock]) -> list[list[int]]:
    return [block.kept["id"].to_pylist() for block in blocks]


@pytest.mark.parametrize("rows_per_unit", [1, 3, 4, 7, 10, 100])
def test_every_row_is_read_once_in_order(
    parquet: Write, asking: Ask, reading: Read, rows_per_unit: int
) -> None:
    """Over all row groups, whatever the size of units; a unit never crosses a row group."""
    table = numbered(23)
    blocks = reading(
        parquet(table, row_group_size=10), asking(table.schema, "id"), rows_per_unit=rows_per_unit
    )
    assert [row for unit in ids(blocks) for row in unit] == list(range(23))
    sizes = [min(rows_per_unit, n - start) for n in (10, 10, 3) for start in range(0, n, rows_per_unit)]
    assert [block.rows for block in blocks] == sizes
    assert [text for block in blocks for text in block.inputs["text"].to_pylist()] == table[
        "text"
    ].to_pylist()


def test_units_know_their_place(parquet: Write, asking: Ask, reading: Read) -> None:
    """First row in the file, offset in the row group, and which is the last of its group."""
    table = numbered(10)
    blocks = reading(parquet(table, row_group_size=6), asking(table.schema, "id"))
    assert [(b.unit.first_row, b.unit.offset, b.last, b.rows_read) for b in blocks] == [
        (0, 0, False, 4),
        (4, 4, True, 2),
        (6, 0, True, 4),
    ]


def test_row_groups_are_the_splits(parquet: Write, asking: Ask, planning: Plan) -> None:
    """With exact row counts; an empty row group is none."""
    table = numbered(10)
    path = parquet(table).url
    with pq.ParquetWriter(path, table.schema) as writer:
        for part in (table.slice(0, 6), table.slice(0, 0), table.slice(6)):
            writer.write_table(part)
    splits = planning(stat_file(path), asking(table.schema))
    assert [(s.index, s.start, s.stop, s.rows, s.first_row) for s in splits] == [
        (0, 0, 6, 6, 0),
        (2, 6, 10, 4, 6),
    ]
    assert [READER.count(split) for split in splits] == [6, 4]


def test_committed_units_are_left_out(parquet: Write, asking: Ask, reading: Read) -> None:
    """Those at the offsets in `skip`; the others are what they were."""
    table = numbered(12)
    file, spec = parquet(table), asking(table.schema, "id")
    every = reading(file, spec)
    left = reading(file, spec, skip=frozenset({0, 8}))
    assert [block.unit for block in left] == [every[1].unit]
    assert left[0].kept == every[1].kept


def test_an_empty_file_has_no_units(parquet: Write, asking: Ask, reading: Read) -> None:
    """But a schema."""
    table = numbered(0)
    file = parquet(table)
    assert READER.schema(file) == table.schema
    assert reading(file, asking(table.schema)) == []


@pytest.mark.parametrize("kind", TEXT_TYPES, ids=str)
def test_text_of_any_text_type_is_read(parquet: Write, asking: Ask, reading: Read, kind: pa.DataType) -> None:
    """As plain text for the tokenizer; where kept, of its own type. Null and empty texts stay so."""
    texts = ["a", None, "", "ü", "a", "日本"]
    table = pa.table({"text": pa.array(texts).cast(kind)})
    file = parquet(table)
    schema = READER.schema(file)
    check_text("text", schema.field("text").type, field="input.text")
    blocks = reading(file, asking(schema, "text"))
    assert [text for block in blocks for text in block.inputs["text"].to_pylist()] == texts
    assert [text for block in blocks for text in block.kept["text"].to_pylist()] == texts
    assert {block.kept.schema.field("text").type for block in blocks} == {schema.field("text").type}
    assert all(not block.rejects for block in blocks)


# Arrow itself refuses the whole column where the values of a dictionary are large strings: an InputError.
@pytest.mark.parametrize("kind", TEXT_TYPES[:-1], ids=str)
@pytest.mark.parametrize("broken", ["text", "note"])
def test_invalid_utf8_is_rejected_alone(
    parquet: Write, asking: Ask, reading: Read, kind: pa.DataType, broken: str
) -> None:
    """In the text and in a kept column, at any row; the rest of the unit stays, in order."""
    values: list[bytes | None] = [b"fine", b"caf\xe9", None, b"", b"\xff\xfe", b"end"]
    columns = {"id": pa.array(range(6)), "text": pa.array(["t"] * 6), "note": pa.array(["n"] * 6)}
    table = pa.table(columns | {broken: invalid(values, kind)})
    file = parquet(table)
    blocks = reading(file, asking(READER.schema(file), "id", "note"), rows_per_unit=4)
    assert ids(blocks) == [[0, 2, 3], [5]]
    rejects = [reject for block in blocks for reject in block.rejects]
    assert [(reject.row, reject.reason) for reject in rejects] == [
        (1, f"column '{broken}': not valid UTF-8"),
        (4, f"column '{broken}': not valid UTF-8"),
    ]
    assert r"caf\\xe9" in rejects[0].raw
    assert [block.rows + len(block.rejects) for block in blocks] == [block.rows_read for block in blocks]


def test_invalid_utf8_inside_a_nested_column_is_rejected(parquet: Write, asking: Ask, reading: Read) -> None:
    """Nobody could read the output otherwise."""
    words = invalid([b"a", b"\xff", b"b", b"c"], pa.string())
    tags = pa.ListArray.from_arrays(pa.array([0, 1, 2, 4], pa.int32()), words)
    table = pa.table(
        {
            "id": [0, 1, 2],
            "text": ["x", "y", "z"],
            "tags": tags,
            "when": pa.array([1, 2, 3], pa.timestamp("ns")),
        }
    )
    (block,) = reading(parquet(table), asking(table.schema, "id", "tags", "when"))
    assert block.kept["id"].to_pylist() == [0, 2]
    assert block.kept["tags"].to_pylist() == [["a"], ["b", "c"]]
    assert [(reject.row, reject.reason) for reject in block.rejects] == [
        (1, "column 'tags': not valid UTF-8")
    ]
    assert '"id": 1' in block.rejects[0].raw


def test_bad_rows_can_be_failures(parquet: Write, asking: Ask, reading: Read) -> None:
    """The message names file, row and reason."""
    table = pa.table({"text": invalid([b"a"] * 5 + [b"\xff"], pa.string())})
    with pytest.raises(
        BadRow, match=r"in\.parquet: row 5: column 'text': not valid UTF-8; .*input\.on_bad_row: reject"
    ):
        reading(parquet(table), asking(table.schema, on_bad_row="fail"))


KEPT: dict[str, pa.Array] = {
    "list": pa.array([[1], [], None, [2, None]]),
    "struct": pa.array([{"a": 1, "b": ["x"]}, None, {"a": None, "b": []}, {"a": 4, "b": None}]),
    "list of structs": pa.array([[{"a": 1}], None, [], [{"a": None}]]),
    "map": pa.array([[("k", 1)], None, [], [("l", None)]], pa.map_(pa.string(), pa.int64())),
    "fixed-size list": pa.array([[1.0, 2.0], None, [3.0, 4.0], [5.0, 6.0]], pa.list_(pa.float32(), 2)),
    "large list": pa.array([[1], [], None, [2]], pa.large_list(pa.int16())),
    "dictionary": pa.array(["a", None, "b", "a"]).dictionary_encode(),
    "decimal": pa.array([1, None, 2, 3], pa.decimal128(12, 3)),
    "timestamp": pa.array([1, None, 2, 3], pa.timestamp("us", "Europe/Berlin")),
    "time": pa.array([1, None, 2, 3], pa.time64("us")),
    "date": pa.array([1, None, 2, 3], pa.date32()),
    "binary": pa.array([b"\xff", None, b"", b"x"]),
    "fixed-size binary": pa.array([b"ab", None, b"cd", b"ef"], pa.binary(2)),
    "uint8": pa.array([255, None, 0, 1], pa.uint8()),
    "halffloat": pa.array([1.5, None, 0.0, 2.0], pa.float16()),
    "bool": pa.array([True, None, False, True]),
    "null": pa.nulls(4),
    "uuid": pa.ExtensionArray.from_storage(
        pa.uuid(), pa.array([uuid.UUID(int=i).bytes for i in range(4)], pa.binary(16))
    ),
    "json": pa.ExtensionArray.from_storage(pa.json_(pa.string()), pa.array(["{}", None, "[1]", "1"])),
    "string view": pa.array(["a", None, "a string longer than twelve bytes", ""], pa.string_view()),
}


@pytest.mark.parametrize("values", KEPT.values(), ids=KEPT)
def test_kept_columns_keep_type_and_values(
    parquet: Write, asking: Ask, reading: Read, values: pa.Array
) -> None:
    """What the file says it holds is what the output gets."""
    file = parquet(pa.table({"text": ["a", "b", "c", "d"], "kept": values}))
    kind = column_type("kept", [(file.url, READER.schema(file))], field="input.keep")
    blocks = reading(
        file, asking(pa.schema([("text", pa.string()), ("kept", kind)]), "kept"), rows_per_unit=3
    )
    assert kind == values.type
    assert [block.kept.schema.field("kept").type for block in blocks] == [kind, kind]
    assert pa.concat_tables([block.kept for block in blocks])["kept"].to_pylist() == values.to_pylist()


def test_columns_come_in_the_order_asked_for(parquet: Write, asking: Ask, reading: Read) -> None:
    """Not in the file's; names with dots and columns of alike names are told apart."""
    table = pa.table({"a": [1], "text": ["x"], "a.b": [2], "b": pa.array([{"c": 3}]), "text.b": ["y"]})
    (block,) = reading(parquet(table), asking(table.schema, "b", "a.b", "a"))
    assert block.kept.to_pylist() == [{"b": {"c": 3}, "a.b": 2, "a": 1}]
    assert list(block.kept.column_names) == ["b", "a.b", "a"]


def test_pairs_are_read_from_two_columns(parquet: Write, asking: Ask, reading: Read) -> None:
    """A column may be text, pair and kept at once."""
    table = pa.table({"q": ["a", None], "text": ["x", "y"]})
    (block,) = reading(parquet(table), asking(table.schema, "q", pair="q"))
    assert block.inputs.to_pylist() == [{"text": "x", "text_pair": "a"}, {"text": "y", "text_pair": None}]
    assert block.kept.to_pylist() == [{"q": "a"}, {"q": None}]


def test_a_column_widens_over_files(parquet: Write, asking: Ask, reading: Read) -> None:
    """int32 here and int64 there is int64 in every output file."""
    small = parquet(pa.table({"text": ["a"], "n": pa.array([1], pa.int32())}), "small.parquet")
    large = parquet(pa.table({"text": ["b"], "n": pa.array([2**40], pa.int64())}), "large.parquet")
    kind = column_type("n", [(file.url, READER.schema(file)) for file in (small, large)], field="input.keep")
    spec = asking(pa.schema([("text", pa.string()), ("n", kind)]), "n")
    found = [block.kept for file in (small, large) for block in reading(file, spec)]
    assert [part.schema.field("n").type for part in found] == [pa.int64(), pa.int64()]
    assert pa.concat_tables(found)["n"].to_pylist() == [1, 2**40]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.int64(), pa.string()),
        (pa.decimal128(5, 2), pa.float64()),
        (pa.string(), pa.binary()),
        (pa.uint64(), pa.int64()),
        (pa.timestamp("s"), pa.timestamp("s", "UTC")),
        (pa.list_(pa.int8()), pa.int8()),
        (pa.list_(pa.decimal128(5, 2)), pa.list_(pa.float64())),
    ],
    ids=str,
)
def test_types_that_lose_something_together_are_refused(one: pa.DataType, other: pa.DataType) -> None:
    """Before anything runs; both files and types are named."""
    schemas = [("/in/one", pa.schema([("n", one)])), ("/in/other", pa.schema([("n", other)]))]
    with pytest.raises(
        InputError, match=r"/in/other: column 'n' is .*, but .* in /in/one; expected one type"
    ) as raised:
        column_type("n", schemas, field="input.keep")
    assert raised.value.field == "input.keep"


@dataclass(frozen=True)
class Widened:
    """Values of a column that has a common type with another file: one that fits, and one that does not."""

    kind: pa.DataType
    common: pa.DataType
    fitting: Any
    beyond: Any


WIDENED = [
    Widened(pa.int64(), pa.float64(), 2**53, 2**53 + 1),
    Widened(pa.int32(), pa.float32(), 2**24, 2**24 + 1),
    Widened(pa.uint64(), pa.float64(), 7, 2**64 - 1),
    Widened(pa.decimal128(38, 0), pa.decimal128(38, 10), Decimal(10**27), Decimal(10**30)),
    Widened(pa.timestamp("us"), pa.timestamp("ns"), datetime(2262, 1, 1), datetime(9999, 12, 31)),
    Widened(pa.timestamp("s", "UTC"), pa.timestamp("ns", "UTC"), 0, 10**12),
    Widened(pa.date32(), pa.timestamp("ns"), date(1700, 1, 1), date(1, 1, 1)),
    Widened(pa.duration("s"), pa.duration("ns"), 9, 10**12),
    Widened(pa.list_(pa.int64()), pa.list_(pa.float64()), [1, None], [1, 2**53 + 1]),
    Widened(pa.struct([("a", pa.int64())]), pa.struct([("a", pa.float64())]), {"a": 1}, {"a": 2**53 + 1}),
]


@pytest.mark.parametrize("widened", WIDENED, ids=lambda widened: f"{widened.kind}-{widened.common}")
def test_a_value_that_the_common_type_cannot_hold_is_a_reject(
    parquet: Write, asking: Ask, reading: Read, widened: Widened
) -> None:
    """That row alone, with the value in `raw`; its neighbours are exactly what they were."""
    values = pa.array([widened.fitting, widened.beyond, None, widened.fitting], widened.kind)
    file = parquet(pa.table({"text": ["a", "b", "c", "d"], "n": values}))
    (block,) = reading(file, asking(pa.schema([("text", pa.string()), ("n", widened.common)]), "n"))
    assert block.inputs["text"].to_pylist() == ["a", "c", "d"]
    expected = pa.array([widened.fitting, None, widened.fitting], widened.kind).cast(widened.common)
    assert block.kept["n"].combine_chunks() == expected
    (reject,) = block.rejects
    assert (reject.row, block.rows_read) == (1, 4)
    assert reject.reason.startswith(f"column 'n': expected {widened.common}, got ")
    assert json.loads(reject.raw)["text"] == "b"


def test_types_without_a_conversion_name_the_file(parquet: Write, asking: Ask, reading: Read) -> None:
    """An error: no row of the file could be used."""
    file = parquet(pa.table({"text": ["a"], "n": pa.array([True])}))
    spec = asking(pa.schema([("text", pa.string()), ("n", pa.date32())]), "n")
    with pytest.raises(InputError, match=r"in\.parquet: .*'n'.*date32"):
        reading(file, spec)


def test_a_decimal_beyond_its_precision_is_a_reject(parquet: Write, asking: Ask, reading: Read) -> None:
    """Files can hold such; written to Parquet again it would lose its first digits."""
    numbers = b"".join(number.to_bytes(16, "little") for number in (123, 99999, 100000))
    values = pa.Array.from_buffers(pa.decimal128(5, 2), 3, [None, pa.py_buffer(numbers)])
    table = pa.table({"text": ["a", "b", "c"], "n": values})
    file = parquet(table, store_decimal_as_integer=True)
    (block,) = reading(file, asking(table.schema, "n"))
    assert [str(value) for value in block.kept["n"].to_pylist()] == ["1.23", "999.99"]
    (reject,) = block.rejects
    assert reject.row == 2
    assert "100000 does not fit in precision of decimal128(5, 2)" in reject.reason


def test_a_missing_column_names_those_there_are(parquet: Write) -> None:
    """And the field of the job file to change."""
    file = parquet(numbered(3))
    with pytest.raises(
        InputError, match=r"in\.parquet: expected a column 'body', got columns 'id', 'text'; name one"
    ) as raised:
        column_type("body", [(file.url, READER.schema(file))], field="input.text")
    assert raised.value.field == "input.text"


def test_a_column_that_is_there_twice_is_refused() -> None:
    """Which one is meant, nobody knows."""
    schema = pa.schema([("a", pa.int64()), ("a", pa.string())])
    with pytest.raises(InputError, match="column 'a' appears more than once"):
        column_type("a", [("/in", schema)], field="input.keep")


@pytest.mark.parametrize(
    "kind",
    [pa.int64(), pa.binary(), pa.list_(pa.string()), pa.dictionary(pa.int32(), pa.int64()), pa.null()],
    ids=str,
)
def test_a_text_column_of_another_type_is_refused(kind: pa.DataType) -> None:
    """With what was expected."""
    with pytest.raises(InputError, match=r"column 'text': expected text \(string, .*\), got "):
        check_text("text", kind, field="input.text")


def test_star_keeps_every_column_of_every_file() -> None:
    """In order of first appearance; any other list is taken as it is."""
    schemas = [
        ("/a", pa.schema([("x", pa.int8()), ("y", pa.int8())])),
        ("/b", pa.schema([("z", pa.int8()), ("x", pa.int8())])),
    ]
    assert kept_columns(["*"], schemas) == ("x", "y", "z")
    assert kept_columns(["y"], schemas) == ("y",)


def test_a_file_cut_short_anywhere_is_an_input_error(parquet: Write, asking: Ask, reading: Read) -> None:
    """It names the file and says what to do; never another exception."""
    table = numbered(200)
    file = parquet(table, row_group_size=50)
    content = Path(file.url).read_bytes()
    spec = asking(table.schema, "id")
    for size in [
        0,
        1,
        3,
        4,
        8,
        11,
        12,
        *range(13, len(content), 97),
        len(content) - 8,
        len(content) - 4,
        len(content) - 1,
    ]:
        Path(file.url).write_bytes(content[:size])
        cut = stat_file(file.url)
        with pytest.raises(
            InputError, match=r"in\.parquet: expected a complete Parquet file of \d+ bytes.*copy it again"
        ):
            reading(cut, spec)
        with pytest.raises(InputError, match=r"in\.parquet"):
            READER.schema(cut)


def test_a_damaged_page_is_an_input_error(parquet: Write, asking: Ask) -> None:
    """Planning sees a good footer; reading names the file and row group."""
    table = numbered(2000)
    file = parquet(table, compression="zstd", row_group_size=1000)
    content = bytearray(Path(file.url).read_bytes())
    spec = asking(table.schema, "id")
    splits = READER.splits(file, spec.columns, spec.text_columns, UnitSizing(100, 1.0, 8))
    content[200:1200] = bytes(1000)
    Path(file.url).write_bytes(content)
    with pytest.raises(
        InputError, match=r"in\.parquet: row group 0 cannot be read \(.*\); the file is damaged"
    ):
        list(READER.read(splits[0], spec, frozenset()))


def test_a_file_that_cannot_be_found_is_an_input_error(tmp_path: Path) -> None:
    """Removed since it was listed."""
    with pytest.raises(InputError, match=r"gone\.parquet"):
        READER.schema(StoredFile(str(tmp_path / "gone.parquet"), 10, "1"))


def test_sizes_come_from_the_columns_that_are_read(parquet: Write, planning: Plan, asking: Ask) -> None:
    """A huge column that nobody asked for does not make units small."""
    table = pa.table({"text": ["x"] * 100, "huge": pa.array([bytes([i]) * 1_000_000 for i in range(100)])})
    file = parquet(table, compression="zstd")

    def rows(*columns: str) -> Any:
        return READER.splits(file, [*columns], ("text",), UnitSizing(None, 1.0, 128))[0].rows_per_unit

    assert rows("text") == 8192
    assert rows("text", "huge") < 100


def test_only_asked_for_columns_are_read(parquet: Write, asking: Ask, reading: Read) -> None:
    """Damage elsewhere in the file is not our business, and its bytes are never fetched."""
    table = pa.table({"other": pa.array([i * 7919 % 10007 for i in range(1000)]), "text": ["x"] * 1000})
    file = parquet(table, compression="zstd", use_dictionary=False)
    content = bytearray(Path(file.url).read_bytes())
    content[100:600] = bytes(500)
    Path(file.url).write_bytes(content)
    assert sum(block.rows for block in reading(file, asking(table.schema), rows_per_unit=300)) == 1000


@settings(max_examples=100, derandomize=True, deadline=None)
@given(sizes=st.lists(st.integers(0, 12), max_size=8), size=st.integers(1, 10))
def test_units_do_not_depend_on_the_batches_that_arrow_delivers(sizes: list[int], size: int) -> None:
    """Arrow may cut a row group elsewhere, as it does for very large values; units stay the same."""
    table = numbered(sum(sizes))
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    batches = [
        batch
        for start, n in zip(starts, sizes, strict=True)
        for batch in table.slice(start, n).combine_chunks().to_batches()
    ]
    found = list(_regroup(iter(batches), size))
    assert [offset for offset, _ in found] == list(range(0, table.num_rows, size))
    assert [part["id"].to_pylist() for _, part in found] == [
        list(range(offset, min(offset + size, table.num_rows))) for offset, _ in found
    ]
