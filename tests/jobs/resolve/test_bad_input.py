"""Unusable inputs through the command line: said in words, and nothing committed is touched."""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from workshop import Workshop, contents

Make = Callable[[Workshop], dict[str, Any]]


@dataclass(frozen=True)
class Refusal:
    """A job that is refused: changes to the usual job, what the message holds, the exit code."""

    make: Make
    words: tuple[str, ...]
    code: int = 2


def missing(workshop: Workshop) -> dict[str, Any]:
    return {"input__path": str(workshop.folder / "nowhere.jsonl")}


def empty_glob(workshop: Workshop) -> dict[str, Any]:
    return {"input__path": str(workshop.folder / "in/*.parquet")}


def empty_folder(workshop: Workshop) -> dict[str, Any]:
    (workshop.folder / "empty").mkdir()
    return {"input__path": [str(workshop.folder / "in"), str(workshop.folder / "empty")]}


def unknown_text(workshop: Workshop) -> dict[str, Any]:
    return {"input__text": "body"}


def unknown_keep(workshop: Workshop) -> dict[str, Any]:
    return {"input__keep": ["id", "title"]}


def number_as_text(workshop: Workshop) -> dict[str, Any]:
    return {"input__text": "id"}


def binary_as_text(workshop: Workshop) -> dict[str, Any]:
    path = workshop.table({"id": [1], "text": pa.array([b"a"])}, "binary.parquet")
    return {"input__path": str(path)}


def types_that_disagree(workshop: Workshop) -> dict[str, Any]:
    workshop.rows([{"id": "seven", "text": "a"}], "in/b.jsonl")
    return {}


def column_of_two_types(workshop: Workshop) -> dict[str, Any]:
    return {
        "input__path": str(workshop.rows([{"id": 1, "text": "a"}, {"id": "x", "text": "a"}], "mixed.jsonl"))
    }


def column_twice(workshop: Workshop) -> dict[str, Any]:
    table = pa.table([pa.array(["a"]), pa.array(["b"]), pa.array([1])], names=["text", "text", "id"])
    return {"input__path": str(workshop.table(table, "twice.parquet"))}


def json_array(workshop: Workshop) -> dict[str, Any]:
    return {"input__path": str(workshop.lines(['[{"id": 1, "text": "a"}]'], "array.json"))}


def unsupported(workshop: Workshop) -> dict[str, Any]:
    return {"input__path": str(workshop.lines(["id,text"], "in.csv"))}


def parquet_cut_short(workshop: Workshop) -> dict[str, Any]:
    path = workshop.table({"id": list(range(100)), "text": ["a"] * 100}, "cut.parquet")
    path.write_bytes(path.read_bytes()[:-20])
    return {"input__path": str(path)}


def parquet_damaged_inside(workshop: Workshop) -> dict[str, Any]:
    columns = {"id": [1] * 4000, "text": [f"{i * i}" for i in range(4000)]}
    path = workshop.table(columns, "hurt.parquet", use_dictionary=False, compression="gzip")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 500] = bytes(500)
    path.write_bytes(content)
    return {"input__path": str(path)}


def gzip_cut_short(workshop: Workshop) -> dict[str, Any]:
    path = workshop.numbered(50, "whole.jsonl")
    cut = workshop.folder / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(path.read_bytes())[:-40])
    return {"input__path": str(cut)}


def bad_row(workshop: Workshop) -> dict[str, Any]:
    path = workshop.lines(['{"id": 1, "text": "a"}', "no json", '{"id": 2, "text": "b"}'], "rows.jsonl")
    return {"input__path": str(path), "input__on_bad_row": "fail"}


def types_for_parquet(workshop: Workshop) -> dict[str, Any]:
    path = workshop.table({"id": [1], "text": ["a"]}, "typed.parquet")
    return {"input__path": str(path), "input__schema": {"id": "int32"}}


def column_kept_twice(workshop: Workshop) -> dict[str, Any]:
    return {"input__keep": ["id", "text", "id"]}


def unknown_file_system(workshop: Workshop) -> dict[str, Any]:
    return {"input__path": "nowhere://bucket/a.parquet"}


REFUSALS = {
    "missing file": Refusal(
        missing, ("input.path", "nowhere.jsonl", "no such file", "expected a file, a folder or a glob")
    ),
    "empty glob": Refusal(
        empty_glob, ("input.path", "in/*.parquet", "matches no file", "expected at least one")
    ),
    "empty folder": Refusal(
        empty_folder, ("input.path", "empty", "expected at least one Parquet or JSONL file")
    ),
    "unknown text column": Refusal(
        unknown_text, ("input.text", "a.jsonl", "expected a column 'body'", "got columns 'id', 'text'")
    ),
    "unknown kept column": Refusal(
        unknown_keep, ("input.keep", "a.jsonl", "expected a column 'title'", "'id', 'text'")
    ),
    "number as text": Refusal(
        number_as_text, ("input.text", "column 'id'", "expected text", "got int64", "convert it")
    ),
    "binary as text": Refusal(binary_as_text, ("input.text", "column 'text'", "expected text", "got binary")),
    "types that disagree": Refusal(
        types_that_disagree,
        ("input.keep", "b.jsonl", "'id' is string", "int64 in", "a.jsonl", "expected one type"),
    ),
    "column of two types": Refusal(
        column_of_two_types, ("input.keep", "mixed.jsonl", "'id' holds int64 and string", "input.schema")
    ),
    "column twice": Refusal(column_twice, ("input.text", "twice.parquet", "more than once", "rename")),
    "column kept twice": Refusal(column_kept_twice, ("input.keep", "'id'", "more than once")),
    "types for Parquet": Refusal(types_for_parquet, ("input.schema", "Parquet", "leave it out")),
    "unsupported suffix": Refusal(
        unsupported, ("input.path", "in.csv", "expected one of .parquet", ".jsonl", "set input.format")
    ),
    "unknown file system": Refusal(
        unknown_file_system, ("input.path", "nowhere://", "expected a local path, s3://")
    ),
    "JSON array": Refusal(
        json_array, ("array.json", "expected one JSON object per line", "'['", "rewritten"), 1
    ),
    "Parquet cut short": Refusal(
        parquet_cut_short, ("cut.parquet", "expected a complete Parquet file", "copy it again"), 1
    ),
    "damaged Parquet": Refusal(parquet_damaged_inside, ("hurt.parquet", "damaged", "copy it again"), 1),
    "gzip cut short": Refusal(
        gzip_cut_short, ("cut.jsonl.gz", "expected a complete gzip file", "copy it again"), 1
    ),
    "bad row under fail": Refusal(bad_row, ("rows.jsonl", "row 1", "not JSON", "on_bad_row: reject"), 1),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_an_unusable_input_is_refused_in_words(workshop: Workshop, refusal: Refusal) -> None:
    """Exit code, message, no traceback, nothing on standard output, no data file."""
    workshop.numbered(4)
    result = workshop.cli("run", workshop.job(**refusal.make(workshop)))
    assert result.exit_code == refusal.code
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr
    assert "fault of corpusmill" not in result.stderr
    assert [word for word in refusal.words if word not in result.stderr] == []
    assert workshop.data() == {}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_a_refused_job_leaves_what_is_committed_alone(workshop: Workshop, refusal: Refusal) -> None:
    """The output of an earlier run has the same bytes, whatever the next run was asked to read."""
    workshop.numbered(4)
    workshop.run()
    before = workshop.data() | {"manifest": (workshop.output / "_manifest.parquet").read_bytes()}
    assert workshop.cli("run", workshop.job(**refusal.make(workshop))).exit_code > 0
    assert workshop.data() | {"manifest": (workshop.output / "_manifest.parquet").read_bytes()} == before


@pytest.mark.parametrize("command", ["run", "plan"])
def test_all_problems_of_input_models_and_output_are_said_at_once(workshop: Workshop, command: str) -> None:
    """Each with its field, in one message, by both commands."""
    workshop.numbered(4)
    job = workshop.job(
        input__text="body",
        input__keep=["title"],
        models=[
            {"checkpoint": "nowhere", "name": "a"},
            {"checkpoint": str(workshop.embedder), "max_length": 9999},
        ],
        output__compression="snappy",
    )
    result = workshop.cli(command, job)
    assert result.exit_code == 2
    fields = (
        "input.text",
        "input.keep",
        "models[0].checkpoint",
        "models[1].max_length",
        "models[1].name",
        "output.compression",
    )
    assert [field for field in fields if f"{job}: {field}: " not in result.stderr] == []


def test_debug_adds_the_traceback_and_keeps_the_exit_code(workshop: Workshop) -> None:
    """A wrong configuration is 2 and a damaged file is 1, with and without."""
    workshop.numbered(4)
    for refusal in (REFUSALS["unknown text column"], REFUSALS["Parquet cut short"]):
        result = workshop.cli("run", workshop.job(**refusal.make(workshop)), "--debug")
        assert result.exit_code == refusal.code
        assert "Traceback (most recent call last)" in result.stderr
        assert result.stderr.strip().splitlines()[-1].startswith("error: ")


def test_rows_that_cannot_be_used_are_set_aside_one_by_one(workshop: Workshop) -> None:
    """Malformed lines, invalid UTF-8 and wrong types; their neighbours are all there."""
    bad: list[tuple[str | bytes, str]] = [
        ('{"id": 90, "text": ', "not JSON"),
        (b'{"id": 91, "text": "\xff\xfe"}', "not valid UTF-8 at byte"),
        ("[1, 2]", "expected a JSON object, got an array"),
        ('"text"', "expected a JSON object, got a string"),
        ('{"id": 92, "text": 5}', "column 'text': expected string, got a number"),
        ('{"id": "x", "text": "a"}', "column 'id': expected int64, got a string"),
        ('{"id": 99999999999999999999, "text": "a"}', "column 'id': expected int64"),
    ]
    good = [json.dumps({"id": i, "text": f"good {i}"}) for i in range(20)]
    lines = [line for i, text in enumerate(good) for line in ([text, bad[i][0]] if i < len(bad) else [text])]
    source = workshop.lines(lines)
    result = workshop.cli("run", workshop.job(input__schema={"id": "int64"}), "--json")
    assert result.exit_code == 0
    assert f"warning: {len(bad)} row(s) were rejected" in result.stderr
    found = json.loads(result.stdout)
    assert (found["rows"], found["rejected"]) == (20, len(bad))
    rejects = workshop.rejects()
    assert [reject["row"] for reject in rejects] == [2 * i + 1 for i in range(len(bad))]
    assert {reject["file"] for reject in rejects} == {str(source)}
    for reject, (raw, reason) in zip(rejects, bad, strict=True):
        assert reason in reject["reason"]
        text = raw.decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else raw
        assert reject["raw"] == text
    assert workshop.read()["id"].to_pylist() == list(range(20))


def test_null_text_is_a_row_with_nulls_and_empty_text_a_row_with_results(workshop: Workshop) -> None:
    """Neither is rejected."""
    workshop.lines(
        ['{"id": 1, "text": null}', '{"id": 2, "text": ""}', '{"id": 3}', '{"id": 4, "text": "word"}']
    )
    result = workshop.run()
    assert (result.rows, result.rejected) == (4, 0)
    table = workshop.read()
    assert table["id"].to_pylist() == [1, 2, 3, 4]
    assert [vector is None for vector in table["embedding"].to_pylist()] == [True, False, True, False]
    assert not (workshop.output / "rejects").exists()


def test_inputs_of_only_nulls_or_no_rows_give_an_output(workshop: Workshop) -> None:
    """An empty file beside one whose texts are all null, and a Parquet file of no rows beside it."""
    workshop.lines(['{"id": 1, "text": null}'] * 3)
    workshop.lines([], "in/empty.jsonl")
    workshop.table({"id": pa.array([], pa.int64()), "text": pa.array([], pa.string())}, "in/none.parquet")
    result = workshop.run()
    assert (result.rows, result.tokens) == (3, 0)
    assert workshop.read()["embedding"].to_pylist() == [None] * 3
    assert workshop.cli("verify", workshop.output).exit_code == 0


def test_invalid_utf8_in_parquet_is_set_aside_one_by_one(workshop: Workshop) -> None:
    """In the text and in a kept column; plain and dictionary."""
    raw = [b"fine", b"bro\xffken", b"fine too", b"x"]
    text = pa.Array.from_buffers(pa.string(), 4, pa.array(raw, pa.binary()).buffers())
    kept = pa.Array.from_buffers(pa.string(), 4, pa.array([b"a", b"b", b"c", b"\xc3"], pa.binary()).buffers())
    workshop.table({"id": [0, 1, 2, 3], "text": text, "kept": kept})
    result = workshop.run(input__keep=["id", "kept"])
    assert (result.rows, result.rejected) == (2, 2)
    assert [(r["row"], r["reason"]) for r in workshop.rejects()] == [
        (1, "column 'text': not valid UTF-8"), (3, "column 'kept': not valid UTF-8")]  # fmt: skip
    assert workshop.read()["id"].to_pylist() == [0, 2]


def test_plan_writes_nothing_for_a_refused_job(workshop: Workshop) -> None:
    """Not even a folder."""
    workshop.numbered(4)
    job = workshop.job(input__text="body")
    before = contents(workshop.folder)
    assert workshop.cli("plan", job).exit_code == 2
    assert contents(workshop.folder) == before
    assert not Path(workshop.output).exists()
