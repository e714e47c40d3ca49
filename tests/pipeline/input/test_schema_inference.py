"""Column types of JSON lines: what the values are, over one file and several; types written as text."""

from collections.abc import Callable
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpusmill.pipeline.errors import InputError
from corpusmill.pipeline.input.arrow_types import parse_type
from corpusmill.pipeline.input.planning import file_schemas
from corpusmill.pipeline.input.readers import READERS
from corpusmill.pipeline.input.readers import jsonl as reader_module
from corpusmill.pipeline.input.readers.infer import infer_schema
from corpusmill.pipeline.input.readers.parse import parse_lines
from corpusmill.pipeline.input.schema import column_type, kept_columns
from corpusmill.pipeline.storage import StoredFile

READER = READERS["jsonl"]
Write = Callable[..., StoredFile]


def column(*files: list[bytes]) -> pa.DataType:
    """The type of column `v` over files of these values, as the plan finds it."""
    schemas = [
        (f"/in/{i}", infer_schema([b'{"v": %s}' % value for value in values]))
        for i, values in enumerate(files)
    ]
    return column_type("v", schemas, field="input.keep")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([b"1", b"2"], "int64"),
        ([b"1", b"2.5"], "double"),
        ([b"1.0"], "double"),
        ([b"true"], "bool"),
        ([b'"1"'], "string"),
        ([b'"2020-01-01"'], "string"),
        ([b"null", b"1"], "int64"),
        ([b"null"], "string"),
        ([b"[]"], "list<string>"),
        ([b"[1]", b"[]", b"[2.5]"], "list<double>"),
        ([b"[[1]]"], "list<list<int64>>"),
        ([b'{"a": 1}', b'{"b": "x"}'], "struct<a: int64, b: string>"),
        ([b'{"a": null}', b'{"a": [1]}'], "struct<a: list<int64>>"),
        ([b"{}"], "struct<>"),
        ([b'[{"a": 1}, {"a": null, "b": true}]'], "list<struct<a: int64, b: bool>>"),
        ([b"18446744073709551616"], "double"),
    ],
)
def test_a_type_is_what_the_values_are(values: list[bytes], kind: str) -> None:
    """Nothing is guessed from how a text looks; a column without values is text."""
    assert column(values) == (pa.struct([]) if kind == "struct<>" else parse_type(kind))


@pytest.mark.parametrize(
    "values",
    [
        [b"1", b'"1"'],
        [b"true", b"1"],
        [b"[1]", b"1"],
        [b"[1, true]"],
        [b'{"a": 1}', b'{"a": "x"}'],
        [b'{"a": 1}', b"[]"],
        [b"1", b'"x"', b"1"],
        [b"[" * 40 + b"]" * 40],
        [b'{"a":' * 900 + b"1" + b"}" * 900],
    ],
)
def test_values_of_no_common_type_are_refused_if_asked_for(values: list[bytes]) -> None:
    """The message names file and types, and what to do; other columns are not concerned."""
    lines = [b'{"text": "a", "v": %s}' % value for value in values]
    schemas = [("/in/a", infer_schema(lines))]
    assert column_type("text", schemas, field="input.text") == pa.string()
    with pytest.raises(
        InputError, match=r"/in/a: column 'v' holds .*; expected one type: give input\.schema"
    ):
        column_type("v", schemas, field="input.keep")


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        (([b"null"], [b"1"]), "int64"),
        (([b"1"], [b"null"]), "int64"),
        (([b"null"], [b"null"]), "string"),
        (([b"[]"], [b"[1]"]), "list<int64>"),
        (([b'{"a": null}'], [b'{"a": 1, "b": []}']), "struct<a: int64, b: list<string>>"),
        (([b"1"], [b"2.5"]), "double"),
        (([b'{"a": 1}'], [b'{"b": 1}']), "struct<a: int64, b: int64>"),
    ],
)
def test_files_together_decide(files: tuple[list[bytes], ...], kind: str) -> None:
    """A shard in which a column happens to be null throughout is no other type."""
    assert column(*files) == parse_type(kind)


def test_files_that_disagree_are_refused() -> None:
    """With both files and types."""
    with pytest.raises(
        InputError, match=r"/in/1: column 'v' is string, but int64 in /in/0; .*give input\.schema for JSONL"
    ):
        column([b"1"], [b'"a"'])


def test_lines_that_cannot_be_parsed_are_left_out() -> None:
    """They are rejected later, each alone."""
    assert infer_schema([b"nope", b'{"a": 1}', b"[1]", b"\xff", b'{"b": "x"}']) == pa.schema(
        [("a", pa.int64()), ("b", pa.string())]
    )


def test_given_types_replace_inferred_ones(jsonl: Write) -> None:
    """They settle a conflict, and name columns that no sample showed; Parquet files speak for themselves."""
    file = jsonl([{"text": "a", "v": 1}, {"text": "b", "v": "x"}])
    schemas = file_schemas([file], "auto", pa.schema([("v", pa.string()), ("w", pa.date32())]))
    assert [column_type(name, schemas, field="f") for name in ("text", "v", "w")] == [
        pa.string(),
        pa.string(),
        pa.date32(),
    ]
    assert kept_columns(["*"], schemas) == ("text", "v", "w")


def test_samples_are_bounded(jsonl: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand rows of many megabytes each are not held in memory to learn their types."""
    file = jsonl([{"text": "x" * 100}] * 50 + [{"late": 1}])
    assert READER.schema(file).names == ["text", "late"]
    monkeypatch.setattr(reader_module, "SAMPLE_BYTES", 1000)
    assert READER.schema(file).names == ["text"]
    monkeypatch.setattr(reader_module, "SAMPLE_LINES", 3)
    assert len(READER._first_rows(file).rows) == 3  # type: ignore[attr-defined]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.lists(JSON, min_size=1, max_size=4))
def test_what_was_inferred_holds_the_values_it_came_from(values: list[Any]) -> None:
    """Unless they were found to conflict, every sampled row is accepted, and reads back as it was."""
    lines = [orjson.dumps({"v": value}) for value in values]
    try:
        kind = column_type("v", [("/in", infer_schema(lines))], field="f")
    except InputError:
        return
    table, refused = parse_lines(lines, pa.schema([("v", kind)]))
    assert refused == []
    assert [same(found, value) for found, value in zip(table["v"].to_pylist(), values, strict=True)] == [
        True
    ] * len(values)


def same(found: Any, value: Any) -> bool:
    """Equal, where a struct spells out the members that an object left out."""
    if isinstance(value, dict):
        return all(same(found[key], value.get(key)) for key in {*found, *value})
    if isinstance(value, list):
        return len(found) == len(value) and all(map(same, found, value))
    return bool(found == value)


@pytest.mark.parametrize(
    "kind",
    [
        pa.int8(),
        pa.uint64(),
        pa.float32(),
        pa.float64(),
        pa.bool_(),
        pa.string(),
        pa.large_string(),
        pa.binary(),
        pa.date32(),
        pa.timestamp("us"),
        pa.timestamp("ns", "Europe/Berlin"),
        pa.timestamp("s", "+02:00"),
        pa.time32("ms"),
        pa.list_(pa.string()),
        pa.list_(pa.struct([("a", pa.int64()), ("b", pa.list_(pa.timestamp("ms", "UTC")))])),
        pa.struct([("x", pa.list_(pa.int8()))]),
    ],
    ids=str,
)
def test_types_are_read_as_arrow_prints_them(kind: pa.DataType) -> None:
    """What an error message or a schema shows can be pasted into the job file."""
    assert parse_type(str(kind)) == kind
    assert parse_type(f"  {kind} ") == kind


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("list<string>", pa.list_(pa.string())),
        (
            "struct<a:int64,b : list<struct<c: bool>>>",
            pa.struct([("a", pa.int64()), ("b", pa.list_(pa.struct([("c", pa.bool_())])))]),
        ),
        ("float", pa.float32()),
        ("str", pa.string()),
    ],
)
def test_types_may_be_written_short(text: str, kind: pa.DataType) -> None:
    """Without the names of list items, with any spaces."""
    assert parse_type(text) == kind


@pytest.mark.parametrize(
    "text",
    [
        "",
        "text",
        "integer",
        "list<>",
        "list<int64",
        "struct<a int64>",
        "struct<a: nope>",
        "list int64",
        "timestamp[us, tz=]",
        "int64>",
        "map<string, int64>",
        "set<int64>",
    ],
)
def test_an_unknown_type_says_what_was_expected(text: str) -> None:
    """As a ValueError, which the configuration turns into a problem of its field."""
    with pytest.raises(ValueError, match=r"expected "):
        parse_type(text)
