"""The JSONL reader: which lines are rows, which are rejected, and that byte ranges share them out exactly."""

import json
from collections.abc import Callable

import orjson
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.errors import BadRow, InputError
from corpusmill.pipeline.input.arrow_types import parse_type
from corpusmill.pipeline.input.readers import READERS, streams
from corpusmill.pipeline.input.readers import jsonl as reader_module
from corpusmill.pipeline.input.readers.parse import RAW_LIMIT
from corpusmill.pipeline.input.unit_size import UnitSizing
from corpusmill.pipeline.input.units import Split
from corpusmill.pipeline.spec import InputSpec
from corpusmill.pipeline.storage import StoredFile, stat_file

READER = READERS["jsonl"]
Write = Callable[..., StoredFile]
Ask = Callable[..., InputSpec]
Read = Callable[..., list[UnitBlock]]
TEXT = pa.schema([("text", pa.string())])
SPEC = InputSpec("text", None, ("text",), TEXT)


def texts(blocks: list[UnitBlock]) -> list[str | None]:
    return [text for block in blocks for text in block.inputs["text"].to_pylist()]


def rejects(blocks: list[UnitBlock]) -> list[tuple[int, str]]:
    return [(reject.row, reject.reason) for block in blocks for reject in block.rejects]


@pytest.mark.parametrize("rows_per_unit", [1, 3, 5, 100])
def test_every_line_is_a_row_in_order(jsonl: Write, reading: Read, rows_per_unit: int) -> None:
    """Whatever the size of units; the last one says that it is."""
    blocks = reading(jsonl([{"text": f"t{i}"} for i in range(10)]), SPEC, rows_per_unit=rows_per_unit)
    assert texts(blocks) == [f"t{i}" for i in range(10)]
    assert [block.unit.offset for block in blocks] == list(range(0, 10, rows_per_unit))
    assert [block.last for block in blocks] == [False] * (len(blocks) - 1) + [True]


def test_committed_units_are_left_out(jsonl: Write, reading: Read) -> None:
    """The others keep their rows and their names."""
    file = jsonl([{"text": f"t{i}"} for i in range(10)])
    left = reading(file, SPEC, skip=frozenset({0, 8}))
    assert texts(left) == ["t4", "t5", "t6", "t7"]
    assert left[0].unit == reading(file, SPEC)[1].unit


BAD_LINES: dict[str, tuple[bytes, str]] = {
    "garbage": (b"hello", "not JSON: "),
    "cut": (b'{"text": "a', "not JSON: "),
    "array": (b'["a"]', "expected a JSON object, got an array"),
    "string": (b'"a"', "expected a JSON object, got a string"),
    "number": (b"1", "expected a JSON object, got a number"),
    "null": (b"null", "expected a JSON object, got null"),
    "two objects": (b'{"text": "a"} {"text": "b"}', "not JSON: "),
    "trailing comma": (b'{"text": "a"},', "not JSON: "),
    "NaN": (b'{"text": "a", "n": NaN}', "not JSON: "),
    "infinity": (b'{"text": "a", "n": -Infinity}', "not JSON: "),
    "lone surrogate": (rb'{"text": "\ud800"}', "not JSON: "),
    "invalid UTF-8": (b'{"text": "caf\xe9"}', "not valid UTF-8 at byte 13"),
    "invalid UTF-8 elsewhere": (b'{"text": "a", "other": "\xff"}', "not valid UTF-8 at byte 24"),
    "UTF-16": ('{"text": "a"}'.encode("utf-16-be"), "not JSON: "),
    "deep nesting": (b'{"text": "a", "x": ' + b"[" * 5000 + b"]" * 5000 + b"}", "not JSON: "),
    "control character": (b'{"text": "a\x01"}', "not JSON: "),
    "single quotes": (b"{'text': 'a'}", "not JSON: "),
    "text is a number": (b'{"text": 1}', "column 'text': expected string, got a number"),
    "text is a boolean": (b'{"text": true}', "column 'text': expected string, got a boolean"),
    "text is an array": (b'{"text": ["a"]}', "column 'text': expected string, got an array"),
    "text is an object": (b'{"text": {"a": 1}}', "column 'text': expected string, got an object"),
    "zeros": (bytes(20), "not JSON: "),
}


@pytest.mark.parametrize(("line", "reason"), BAD_LINES.values(), ids=BAD_LINES)
@pytest.mark.parametrize("position", [0, 2, 5], ids=["first", "middle", "last"])
def test_a_bad_line_is_rejected_alone(
    jsonl: Write, reading: Read, line: bytes, reason: str, position: int
) -> None:
    """With its row number, why, and what it says; its neighbours stay in order."""
    good = [json.dumps({"text": f"t{i}"}).encode() for i in range(5)]
    content = b"\n".join([*good[:position], line, *good[position:]]) + b"\n"
    blocks = reading(jsonl(content), SPEC)
    assert texts(blocks) == [f"t{i}" for i in range(5)]
    ((row, why),) = rejects(blocks)
    assert row == position
    assert why.startswith(reason)
    raw = next(reject.raw for block in blocks for reject in block.rejects)
    assert raw == line.decode("utf-8", "backslashreplace")


GOOD_LINES: dict[str, tuple[bytes, list[str | None]]] = {
    "CRLF": (b'{"text": "a"}\r\n{"text": "b"}\r\n', ["a", "b"]),
    "byte order mark": (b'\xef\xbb\xbf{"text": "a"}\n{"text": "b"}\n', ["a", "b"]),
    "byte order mark, blank line": (b'\xef\xbb\xbf\n{"text": "a"}\n', ["a"]),
    "blank lines": (b'\n\n{"text": "a"}\n  \t\r\n\n{"text": "b"}\n\n', ["a", "b"]),
    "no newline at the end": (b'{"text": "a"}\n{"text": "b"}', ["a", "b"]),
    "spaces around": (b'  {"text" : "a"}  \n', ["a"]),
    "line separators inside": ('{"text": "a\u2028b\u0085c"}\n'.encode(), ["a\u2028b\u0085c"]),
    "surrogate pair": (rb'{"text": "\ud83d\ude00"}', ["\U0001f600"]),
    "escaped zero": (rb'{"text": "a\u0000b"}', ["a\0b"]),
    "null": (b'{"text": null}', [None]),
    "missing": (b'{"other": 1}\n{}\n{"text": "a"}\n', [None, None, "a"]),
    "duplicate keys": (b'{"text": "a", "text": "b"}', ["b"]),
    "empty": (b'{"text": ""}', [""]),
    "only blank": (b"\n \n", []),
    "nothing": (b"", []),
}


@pytest.mark.parametrize(("content", "expected"), GOOD_LINES.values(), ids=GOOD_LINES)
def test_odd_but_sound_lines_are_read(
    jsonl: Write, reading: Read, content: bytes, expected: list[str | None]
) -> None:
    """A blank line is no row, a missing or null text is a row without; of equal keys the last counts."""
    blocks = reading(jsonl(content), SPEC)
    assert texts(blocks) == expected
    assert rejects(blocks) == []


def test_a_later_byte_order_mark_is_a_bad_line(jsonl: Write, reading: Read) -> None:
    """Files glued together with `cat` carry one in the middle."""
    blocks = reading(jsonl(b'{"text": "a"}\n\xef\xbb\xbf{"text": "b"}\n'), SPEC)
    assert (texts(blocks), [row for row, _ in rejects(blocks)]) == (["a"], [1])


@pytest.mark.parametrize("position", [0, 1, 3])
def test_a_line_too_long_is_rejected_unread(
    jsonl: Write, reading: Read, monkeypatch: pytest.MonkeyPatch, position: int
) -> None:
    """It is never held in memory as a whole; the lines behind it are read."""
    monkeypatch.setattr(streams, "MAX_LINE", 100)
    monkeypatch.setattr(streams, "CHUNK", 16)
    good = [b'{"text": "%d"}' % i for i in range(3)]
    blocks = reading(
        jsonl(b"\n".join([*good[:position], b'{"text": "' + b"x" * 200 + b'"}', *good[position:]])), SPEC
    )
    assert texts(blocks) == ["0", "1", "2"]
    assert rejects(blocks) == [(position, "line longer than 64 MiB")]


def test_a_file_of_one_line_too_long_is_not_forgotten(
    jsonl: Write, reading: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every input row is an output row or a reject, also where no row can be sampled."""
    monkeypatch.setattr(streams, "MAX_LINE", 100)
    assert rejects(reading(jsonl(b'{"text": "' + b"x" * 200 + b'"}'), SPEC)) == [
        (0, "line longer than 64 MiB")
    ]


def test_a_huge_bad_line_is_shown_in_part(jsonl: Write, reading: Read) -> None:
    """One row cannot fill a disk with its reject."""
    (block,) = reading(jsonl(b"{" + "ü".encode() * (RAW_LIMIT + 10)), SPEC)
    assert block.rejects[0].raw == "{" + "ü" * (RAW_LIMIT - 1)


def test_bad_rows_can_be_failures(jsonl: Write, reading: Read, asking: Ask) -> None:
    """The message names file, row and reason."""
    file = jsonl(b'{"text": "a"}\n\nnope\n')
    with pytest.raises(
        BadRow, match=r"in\.jsonl: row 1: not JSON: .*; correct the row, or set input\.on_bad_row: reject"
    ):
        reading(file, asking(TEXT, on_bad_row="fail"))


LINES = st.lists(
    st.sampled_from([b"", b" ", b"{", b"\r", b"x" * 30])
    | st.integers(0, 10**6).map(lambda i: b'{"text":"%d"}' % i),
    max_size=12,
)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(
    found=LINES,
    ending=st.sampled_from([b"", b"\n"]),
    mark=st.booleans(),
    size=st.integers(1, 40),
    rows=st.integers(1, 4),
)
@example(found=[b'{"text":"1"}', b'{"text":"2"}'], ending=b"", mark=True, size=13, rows=1)
def test_byte_ranges_share_out_the_lines_exactly(
    tmp_path_factory: pytest.TempPathFactory,
    found: list[bytes],
    ending: bytes,
    mark: bool,
    size: int,
    rows: int,
) -> None:
    """Wherever the cuts fall, also inside a line, at its newline or inside the byte order mark."""
    path = tmp_path_factory.getbasetemp() / "cut.jsonl"
    path.write_bytes((b"\xef\xbb\xbf" if mark else b"") + b"\n".join(found) + ending)
    file = stat_file(str(path))

    def read(split_bytes: int) -> tuple[list[Split], list[UnitBlock]]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reader_module, "SPLIT_BYTES", split_bytes)
            splits = READER.splits(file, ["text"], ("text",), UnitSizing(rows, 1.0, 8))
            return splits, [block for split in splits for block in READER.read(split, SPEC, frozenset())]

    _, whole = read(10**9)
    splits, parts = read(size)
    assert texts(parts) == texts(whole)
    assert rejects(parts) == rejects(whole)
    assert sum(READER.count(split) for split in splits) == sum(block.rows_read for block in whole)
    assert len({block.unit.name for block in parts}) == len(parts)


def test_rejects_of_a_later_range_count_the_rows_before_once(
    jsonl: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad row in every unit of the last range must not read the file once a unit."""
    file = jsonl(b"".join(b'{"text":"%d"}\nbad\n' % i for i in range(50)))
    monkeypatch.setattr(reader_module, "SPLIT_BYTES", file.size // 2 + 1)
    last = READER.splits(file, ["text"], ("text",), UnitSizing(2, 1.0, 8))[-1]
    counted: list[Split] = []
    count = type(READER).count
    monkeypatch.setattr(
        type(READER), "count", lambda self, split: counted.append(split) or count(self, split)
    )
    blocks = list(READER.read(last, SPEC, frozenset()))
    assert [row for row, _ in rejects(blocks)] == [row for row in range(100) if row % 2][-len(blocks) :]
    assert len(counted) == 1


def test_ranges_only_cut_files_larger_than_one(jsonl: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """And never a compressed one, which can only be read from its start."""
    monkeypatch.setattr(reader_module, "SPLIT_BYTES", 100)
    plain = jsonl([{"text": "x" * 20}] * 10)
    assert [
        (split.start, split.stop)
        for split in READER.splits(plain, ["text"], ("text",), UnitSizing(4, 1.0, 8))
    ] == [(0, 100), (100, 200), (200, 300), (300, plain.size)]


NOT_COERCED = [
    ("string", '"0012"'),
    ("string", '"2020-01-01"'),
    ("string", '"1e5"'),
    ("string", '"true"'),
    ("int64", "9007199254740993"),
    ("int64", "-9223372036854775808"),
    ("uint64", "18446744073709551615"),
    ("double", "1"),
    ("double", "0.1"),
    ("double", "1e300"),
    ("int8", "-128"),
    ("bool", "true"),
    ("list<int64>", "[1, null]"),
    ("struct<a: int64>", '{"a": 1}'),
    ("int64", "null"),
    ("list<struct<a: list<string>>>", '[{"a": ["x"]}]'),
    ("float", "0.5"),
    ("float", "16777216"),
    ("halffloat", "2048"),
    ("halffloat", "65504.0"),
    ("double", "18446744073709551616"),
    ("double", "100000000000000000000"),
    ("list<double>", "[1e25, 0.5]"),
]


@pytest.mark.parametrize(("kind", "value"), NOT_COERCED)
def test_values_arrive_as_they_are(jsonl: Write, reading: Read, asking: Ask, kind: str, value: str) -> None:
    """Nothing is guessed from how a text looks, and no number is rounded in silence."""
    spec = asking(pa.schema([("text", pa.string()), ("v", parse_type(kind))]), "v")
    (block,) = reading(jsonl(b'{"text": "a", "v": %s}\n' % value.encode()), spec)
    assert block.kept["v"].to_pylist() == [orjson.loads(value)]
    assert block.kept.schema.field("v").type == parse_type(kind)
    assert block.rejects == ()


MISFITS = [
    ("int64", '"1"', "a string"),
    ("int64", "true", "a boolean"),
    ("int64", "1.0", "a number"),
    ("int64", "1.5", "a number"),
    ("int64", "[1]", "an array"),
    ("int8", "300", "300"),
    ("uint8", "-1", "-1"),
    ("int64", "9223372036854775808", "92233"),
    ("double", '"1.5"', "a string"),
    ("double", "true", "a boolean"),
    ("double", "9007199254740993", "90071"),
    ("bool", "1", "a number"),
    ("bool", '"true"', "a string"),
    ("string", "1", "a number"),
    ("string", "{}", "an object"),
    ("list<int64>", "1", "a number"),
    ("list<int64>", '["1"]', "a string"),
    ("list<int64>", "[1.0]", "a number"),
    ("list<int64>", "[true]", "a boolean"),
    ("list<double>", "[true]", "a boolean"),
    ("list<bool>", "[1]", "a number"),
    ("list<list<string>>", '["ab"]', "a string"),
    ("list<string>", '"ab"', "a string"),
    ("list<int8>", "[300]", "an array"),
    ("struct<a: int64>", '{"a": "x"}', "a string"),
    ("struct<a: int64>", "[]", "an array"),
    ("struct<a: int64>", '{"a": 1.0}', "a num"),
    ("list<struct<a: bool>>", '[{"a": 1}]', "a number"),
    ("list<int64>", "[" * 900 + "]" * 900, "an array"),
    ("timestamp[us]", "5", "a number"),
    ("timestamp[us]", '"yesterday"', "'yesterday'"),
    ("timestamp[s]", '"2020-01-01T00:00:00Z"', "'2"),
    ("date32", '"2020-13-01"', "'2020-13-01'"),
    ("list<timestamp[s]>", '["x"]', "an array"),
    ("binary", "1", "a number"),
    ("double", "18446744073709551617", "a whole number that no double is exactly"),
    ("double", "-123456789012345678901234567890", "a whole number that no double is exactly"),
    ("list<struct<a: double>>", '[{"a": 18446744073709551617}]', "a whole number that no double is exactly"),
    ("float", "18446744073709551617", "a whole number that no double is exactly"),
    ("float", "16777217", "16777217"),
    ("float", "1e300", "1e+300"),
    ("float", "-3.5e38", "-3.5e+38"),
    ("halffloat", "2049", "2049"),
    ("halffloat", "70000", "70000"),
    ("halffloat", "65520.0", "65520.0"),
    ("list<float>", "[1e300]", "1e+300"),
    ("struct<a: halffloat>", '{"a": 2049}', "2049"),
    ("int32", "2147483648", "2147483648"),
    ("timestamp[ns]", '"9999-12-31"', "'9999-12-31'"),
    ("timestamp[us]", '"2024-01-01T00:00:00.1234567"', "'2024"),
    ("date32", '"2024-01-01T12:00:00"', "'2024"),
]


@pytest.mark.parametrize(("kind", "value", "got"), MISFITS)
def test_a_value_that_does_not_fit_is_rejected_alone(
    jsonl: Write, reading: Read, asking: Ask, kind: str, value: str, got: str
) -> None:
    """At any depth, also where Arrow itself would convert; the reason names column, expected and got."""
    spec = asking(pa.schema([("text", pa.string()), ("v", parse_type(kind))]), "v")
    content = b'{"text": "a"}\n{"text": "b", "v": %s}\n{"text": "c", "v": null}\n' % value.encode()
    (block,) = reading(jsonl(content), spec)
    assert texts([block]) == ["a", "c"]
    ((row, reason),) = rejects([block])
    assert row == 1
    assert reason.startswith("column 'v': expected ")
    assert f"got {got}" in reason
    assert block.rejects[0].raw.startswith('{"text": "b"')


def test_several_reasons_in_one_unit_keep_their_rows(jsonl: Write, reading: Read, asking: Ask) -> None:
    """Rows refused by the parser, by type, and by two columns' ranges."""
    spec = asking(pa.schema([("text", pa.string()), ("a", pa.int8()), ("b", pa.int8())]), "a", "b")
    rows = ['{"a": 1}', '{"a": 300}', "x", '{"b": 300}', '{"a": "1"}', '{"a": 2}', '{"a": 300, "b": 300}']
    (block,) = reading(jsonl("\n".join(rows).encode()), spec, rows_per_unit=10)
    assert block.kept["a"].to_pylist() == [1, 2]
    assert [reject.row for reject in block.rejects] == [1, 2, 3, 4, 6]
    assert [reject.raw for reject in block.rejects] == [rows[i] for i in (1, 2, 3, 4, 6)]
    assert [reject.reason[:10] for reject in block.rejects] == [
        "column 'a'",
        "not JSON: ",
        "column 'b'",
        "column 'a'",
        "column 'a'",
    ]


def test_types_that_json_writes_as_text_are_read(jsonl: Write, reading: Read, asking: Ask) -> None:
    """Where the job gives them: dates, times and time stamps, at any depth."""
    kinds = {
        "t": "timestamp[us]",
        "z": "timestamp[s, tz=UTC]",
        "d": "date32",
        "l": "list<date32>",
        "s": "struct<t: timestamp[s]>",
    }
    schema = pa.schema([("text", pa.string()), *((name, parse_type(kind)) for name, kind in kinds.items())])
    row = {
        "t": "2020-01-02T03:04:05.5",
        "z": "2020-01-02T03:04:05Z",
        "d": "2020-01-02",
        "l": ["2020-01-02"],
        "s": {"t": "2020-01-02"},
    }
    (block,) = reading(jsonl([row]), asking(schema, *kinds))
    assert block.kept.schema.types == [schema.field(name).type for name in kinds]
    found = block.kept.to_pylist()[0]
    assert found["t"].isoformat() == "2020-01-02T03:04:05.500000"
    assert found["z"].isoformat() == "2020-01-02T03:04:05+00:00"
    assert [found["d"].isoformat(), found["l"][0].isoformat(), found["s"]["t"].isoformat()] == [
        "2020-01-02",
        "2020-01-02",
        "2020-01-02T00:00:00",
    ]


@pytest.mark.parametrize(
    "content",
    [
        b'[{"text": "a"},\n{"text": "b"}]\n',
        b'[\n{"text": "a"},\n{"text": "b"}\n]\n',
        b'[{"text": "a"}, {"text": "b"}]',
        b"[\n]\n",
    ],
    ids=["two lines", "pretty", "one line", "empty"],
)
def test_a_json_array_is_refused_as_a_whole(jsonl: Write, content: bytes) -> None:
    """Not row by row: the file has to be rewritten."""
    with pytest.raises(
        InputError, match=r"in\.jsonl: expected one JSON object per line, got a file that begins with '\['"
    ):
        READER.schema(jsonl(content))


@pytest.mark.parametrize("first", [b"[1]", b"[WARNING] disk almost full"])
def test_one_line_that_begins_like_an_array_is_only_a_bad_line(jsonl: Write, first: bytes) -> None:
    """The rest of the file is good."""
    assert READER.schema(jsonl(first + b'\n{"text": "a"}\n')) == TEXT
