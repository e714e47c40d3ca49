"""An output among its own inputs: never read, said once; other jobs' outputs are named."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.s3 import Proxy
from workshop import Workshop, texts

from corpusmill.jobs import ConfigError, JobConfig, RunResult, run
from corpusmill.jobs.plan.plan import plan
from corpusmill.jobs.verify.verify import verify
from corpusmill.pipeline.storage import filesystem

ROWS, GOOD = 21, 20
"""Rows of the input, one of which is a reject of a job on JSONL."""
NOTE = "are left out of the input: they are this job's own output"


@dataclass(frozen=True)
class Spelling:
    """Ways to write an input and an output inside it; {} is the folder that has `in`."""

    paths: list[str]
    output: str
    linked: bool = False


LOCAL = {
    "folder": Spelling(["{}/in"], "{}/in/out"),
    "slashes": Spelling(["{}/in/"], "{}/in/out/"),
    "dots": Spelling(["{}/in/."], "{}/in/./deep/../out"),
    "relative output": Spelling(["{}/in"], "in/out"),
    "relative input": Spelling(["in"], "{}/in/out"),
    "glob of all levels": Spelling(["{}/in/**/*.*"], "{}/in/out"),
    "glob of all": Spelling(["{}/in/**"], "{}/in/out"),
    "glob of some": Spelling(["{}/in/*.*", "{}/in/**/*[a-z0-9].*"], "{}/in/out"),
    "list": Spelling(["{}/in/a.EXT", "{}/in"], "{}/in/out"),
    "linked input": Spelling(["{}/link"], "{}/in/out", linked=True),
    "linked output": Spelling(["{}/in"], "{}/link/out", linked=True),
    "linked glob": Spelling(["{}/link/**/*.*"], "in/out", linked=True),
    "file URL": Spelling(["file://{}/in"], "{}/in/out"),
    "output with brackets": Spelling(["{}/in"], "{}/in/[out]"),
}
FORMATS = [("jsonl", "arrow"), ("parquet", "parquet")]
"""Of the first, rejects would be read, of the second data files."""


def content(kind: str) -> bytes:
    """20 usable rows, and of JSONL one that is a reject."""
    rows = [{"id": i, "text": text} for i, text in enumerate(texts(GOOD))]
    if kind == "jsonl":
        return b"".join(json.dumps(row).encode() + b"\n" for row in rows) + b'{"id": 99, "text": 7}\n'
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return bytes(sink.getvalue())


def twice(config: JobConfig, **options: Any) -> list[RunResult]:
    return [run(config, executor="inline", **options) for _ in range(2)]


def expect_own_rows(results: list[RunResult], kind: str) -> None:
    """The second run finds what the first one did, and the output is whole."""
    for result in results:
        assert (result.rows, result.rejected) == (GOOD, 1 if kind == "jsonl" else 0)
    assert results[1].new_rows == 0
    assert verify(results[0].output).ok


@pytest.fixture
def fields(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """A job whose paths are spelled so; the working directory is the workshop's folder."""
    monkeypatch.chdir(workshop.folder)

    def make(spelling: Spelling, kind: str, output_format: str) -> dict[str, Any]:
        folder = workshop.folder
        (folder / "in/deep").mkdir(parents=True)
        (folder / f"in/a.{kind}").write_bytes(content(kind))
        if spelling.linked:
            (folder / "link").symlink_to(folder / "in")
        return workshop.fields(
            input__path=[path.format(folder).replace("EXT", kind) for path in spelling.paths],
            output={"path": spelling.output.format(folder), "format": output_format},
        )

    return make


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "output_format"), FORMATS)
@pytest.mark.parametrize("spelling", LOCAL.values(), ids=list(LOCAL))
def test_a_second_run_reads_nothing_of_the_first(
    fields: Callable[..., dict[str, Any]], spelling: Spelling, kind: str, output_format: str
) -> None:
    """However the paths are written: same rows, nothing new, `verify` agrees."""
    job = fields(spelling, kind, output_format)
    expect_own_rows(twice(JobConfig.from_dict(job)), kind)


@pytest.mark.parametrize("incremental", [False, True])
@pytest.mark.parametrize("input_format", ["auto", "jsonl"])
def test_an_asked_for_format_reads_no_output_either(
    fields: Callable[..., dict[str, Any]], input_format: str, *, incremental: bool
) -> None:
    """`format: jsonl` takes files of any name: data files and rejects too, were they not left out."""
    job = fields(LOCAL["folder"], "jsonl", "arrow")
    job["input"]["format"] = input_format
    expect_own_rows(twice(JobConfig.from_dict(job), incremental=incremental), "jsonl")


STORES = {
    "folder": Spelling(["{}/in"], "{}/in/out"),
    "slashes": Spelling(["{}/in/"], "{}/in/out/"),
    "glob": Spelling(["{}/in/**"], "{}/in/out"),
    "list": Spelling(["{}/in/a.jsonl", "{}/in/**", "{}/in"], "{}/in/out"),
}


@pytest.fixture
def memory() -> Iterator[Any]:
    """The in-memory store, emptied afterwards."""
    store = fsspec.filesystem("memory")
    yield store
    store.rm("/bucket", recursive=True)


@pytest.mark.parametrize("spelling", STORES.values(), ids=list(STORES))
def test_on_a_store_in_memory(workshop: Workshop, memory: Any, spelling: Spelling) -> None:
    """Any fsspec URL; a third slash means the same."""
    memory.pipe_file("/bucket/in/a.jsonl", content("jsonl"))
    paths = [path.format("memory://bucket") for path in spelling.paths]
    job = workshop.fields(input__path=paths, output__path=spelling.output.format("memory:///bucket"))
    expect_own_rows(twice(JobConfig.from_dict(job)), "jsonl")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["s3", pytest.param("s3a", marks=pytest.mark.slow)])
def test_in_s3(workshop: Workshop, s3: Proxy, scheme: str) -> None:
    """`s3://` and `s3a://` name the same objects."""
    assert s3
    spelling = STORES["list"]
    filesystem("s3").pipe_file("bucket/in/a.jsonl", content("jsonl"))
    paths = [path.format("s3://bucket") for path in spelling.paths]
    job = workshop.fields(input__path=paths, output__path=spelling.output.format(f"{scheme}://bucket"))
    expect_own_rows(twice(JobConfig.from_dict(job)), "jsonl")


INSIDE = {
    "the folder itself": ("{}/in/out", "{}/in/out"),
    "with a slash": ("{}/in/out/", "{}/in/out"),
    "its data": ("{}/in/out/data", "{}/in/out"),
    "a glob of its data": ("{}/in/out/data/*.parquet", "{}/in/out"),
    "its parts by glob": ("{}/in/out/*/*.parquet", "{}/in/out"),
    "by dots": ("{}/in/deep/../out/data", "{}/in/out"),
    "by a link": ("{}/link/out/data", "{}/in/out"),
    "the output by a link": ("{}/in/out", "{}/link/out"),
    "a link to the output": ("{}/straight", "{}/in/out"),
    "input below the output": ("{}/in", "{}"),
    "another date": ("{}/in/out/2026-11-25", "{}/in/out/{{run_date}}"),
}


@pytest.mark.parametrize("before", [False, True], ids=["not there yet", "there"])
@pytest.mark.parametrize(("path", "output"), INSIDE.values(), ids=list(INSIDE))
def test_an_output_as_input_is_refused(workshop: Workshop, path: str, output: str, *, before: bool) -> None:
    """Exit code 2 with the field, whether or not the output is there already."""
    folder = workshop.folder
    workshop.numbered(8, "in/a.jsonl")
    (folder / "link").symlink_to(folder / "in")
    (folder / "straight").symlink_to(folder / "in/out")
    if before:
        workshop.run(output={"path": str(folder / "in/out"), "format": "parquet"})
    job = workshop.job(input__path=path.format(folder), output__path=output.format(folder))
    for command in ("run", "plan"):
        result = workshop.cli(command, job)
        assert result.exit_code == 2
        assert "input.path: " in result.stderr
        assert "expected input, got the job's own output" in result.stderr


def test_an_output_as_input_is_refused_in_s3(workshop: Workshop, s3: Proxy) -> None:
    """Whatever the slashes and the scheme."""
    assert s3
    for path in ("s3://bucket/out", "s3a://bucket/out/", "s3://bucket/out/data", "s3://bucket/out/**"):
        config = JobConfig.from_dict(workshop.fields(input__path=path, output__path="s3://bucket/out/"))
        with pytest.raises(ConfigError, match="the job's own output") as raised:
            run(config, executor="inline")
        assert [problem.field for problem in raised.value.problems] == ["input.path"]


def test_a_neighbour_of_a_similar_name_is_read(workshop: Workshop) -> None:
    """`outer` begins with `out`, and is another folder."""
    workshop.numbered(8, "in/outer/a.jsonl")
    output = str(workshop.folder / "in/out")
    assert workshop.run(output__path=output).rows == 8
    job = workshop.fields(input__path=str(workshop.folder / "in/outer"), output__path=output)
    assert run(JobConfig.from_dict(job), executor="inline").rows == 8


def test_a_file_that_links_into_the_output_is_left_out(workshop: Workshop) -> None:
    """Its real path counts."""
    workshop.numbered(8, "in/a.jsonl")
    output = {"path": str(workshop.folder / "out"), "format": "parquet"}
    workshop.run(output=output)
    (data,) = (workshop.folder / "out/data").glob("*.parquet")
    (workshop.folder / "in/b.parquet").symlink_to(data)
    assert workshop.run(output=output).rows == 8


@pytest.mark.parametrize(
    "template", ["in/out/{run_date}", "in/{run_date}", "in/out-{run_date}/a", "in/{run_date}/out"]
)
@pytest.mark.parametrize("incremental", [False, True])
def test_no_date_reads_the_output_of_another(workshop: Workshop, template: str, *, incremental: bool) -> None:
    """Each date's folder is left out, and what only looks like one is read."""
    workshop.numbered(8, "in/a.jsonl")
    workshop.numbered(8, "in/2026-11/b.jsonl", start=50)
    path = str(workshop.folder / template)
    config = JobConfig.from_dict(workshop.fields(output={"path": path, "format": "parquet"}))
    days = [date(2026, 11, 25), date(2026, 11, 26), date(2026, 11, 26)]
    results = [run(config, executor="inline", run_date=day, incremental=incremental) for day in days]
    assert [result.rows for result in results] == ([16, 0, 0] if incremental else [16, 16, 16])
    assert all(verify(result.output).ok for result in results)
    assert plan(config, run_date=days[0]).rows == 16


@pytest.mark.parametrize("command", ["run", "plan"])
def test_one_note_says_what_was_left_out(workshop: Workshop, command: str) -> None:
    """On standard error, never in the result; nothing before there is an output."""
    workshop.numbered(20, "in/a.jsonl")
    job = workshop.job(output={"path": str(workshop.folder / "in/out"), "format": "parquet"})
    first = workshop.cli("run", job)
    assert "note:" not in first.stderr
    again = workshop.cli(command, job, "--json")
    (note,) = [line for line in again.stderr.splitlines() if line.startswith("note:")]
    assert note == f"note: 3 file(s) below output.path ({workshop.folder}/in/out) {NOTE}"
    assert json.loads(again.stdout)["rows"] == 20
    assert "left out" not in again.stdout


def test_the_note_is_in_the_events(workshop: Workshop) -> None:
    """For runs whose terminal nobody saw."""
    workshop.numbered(8, "in/a.jsonl")
    output = {"path": str(workshop.folder / "in/out"), "format": "parquet"}
    workshop.run(output=output)
    workshop.run(output=output)
    lines = (workshop.folder / "in/out/_job/events.jsonl").read_text().splitlines()
    (event,) = [found for found in map(json.loads, lines) if found["event"] == "input"]
    assert event["note"].endswith(NOTE)


def test_another_jobs_output_is_read_and_named(workshop: Workshop) -> None:
    """It may be meant: jobs are chained so."""
    workshop.numbered(8, "in/a.jsonl")
    other = {"path": str(workshop.folder / "in/other"), "format": "parquet"}
    chained = {"input__keep": ["id", "text"], "output": other}
    workshop.run(**chained)
    job = workshop.job()
    result = workshop.cli("run", job, "--json")
    (note,) = [line for line in result.stderr.splitlines() if line.startswith("note:")]
    assert note.startswith(
        f"note: 1 input file(s) are the output of another job, {workshop.folder}/in/other;"
    )
    assert json.loads(result.stdout)["rows"] == 16


@pytest.mark.parametrize("path", ["in/other", "in/other/data", "in/other/data/*.parquet"])
def test_another_jobs_output_that_is_asked_for_needs_no_note(workshop: Workshop, path: str) -> None:
    """Its name is in input.path already."""
    workshop.numbered(8, "in/a.jsonl")
    workshop.run(
        input__keep=["id", "text"], output={"path": str(workshop.folder / "in/other"), "format": "parquet"}
    )
    result = workshop.cli("run", workshop.job(input__path=str(workshop.folder / path)))
    assert result.exit_code == 0
    assert "note:" not in result.stderr
