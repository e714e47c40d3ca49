"""Records that grow: on a disk, and on a store that only knows whole objects."""

import json
from io import BytesIO
from pathlib import Path

import fsspec
import pytest

from corpusmill.pipeline.output import append_log
from corpusmill.pipeline.output.append_log import AppendLog, lines_of, record_lines
from corpusmill.pipeline.output.folder import OutputFolder


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> OutputFolder:
    """An empty output folder."""
    return OutputFolder.of(
        str(tmp_path / "out") if request.param == "local" else f"memory://{tmp_path.name}/out", "arrow"
    )


def add(folder: OutputFolder, start: int, stop: int) -> AppendLog:
    """One run's lines."""
    record = AppendLog(folder, "events.jsonl")
    for number in range(start, stop):
        record.add(f'{{"n": {number}}}\n')
    return record


def numbers(folder: OutputFolder) -> list[int]:
    return [json.loads(line)["n"] for line in record_lines(folder, "events.jsonl")]


def test_records_grow_over_several_runs(folder: OutputFolder) -> None:
    """In order, whatever the size of a file."""
    assert numbers(folder) == []
    add(folder, 0, 3).close()
    add(folder, 3, 200).close()
    assert numbers(folder) == list(range(200))


def test_records_of_similar_names_are_others(folder: OutputFolder) -> None:
    """`events.jsonl` is not `events2.jsonl`."""
    record = AppendLog(folder, "events2.jsonl")
    record.add('{"n": 9}\n')
    record.close()
    add(folder, 0, 2).close()
    assert numbers(folder) == [0, 1]


def test_a_store_is_sent_a_line_a_bounded_number_of_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the whole record for each line; what a kill loses is at most an interval's lines."""
    folder = OutputFolder.of(f"memory://{tmp_path.name}/out", "arrow")
    sent: list[int] = []
    kind = type(fsspec.filesystem("memory"))
    whole = kind.pipe_file

    def pipe_file(self: object, path: str, value: bytes, **options: object) -> None:
        sent.append(len(value))
        whole(self, path, value, **options)

    monkeypatch.setattr(kind, "pipe_file", pipe_file)
    add(folder, 0, 5000)
    assert len(sent) == 1
    monkeypatch.setattr(append_log, "INTERVAL", 0.0)
    monkeypatch.setattr(append_log, "FILE_SIZE", 100)
    sent.clear()
    add(folder, 5000, 6000).close()
    assert max(sent) < 130
    assert numbers(folder) == [0, *range(5000, 6000)]


def test_a_record_cut_short_gives_its_whole_lines() -> None:
    """Whatever bytes a crash left in it."""
    assert list(lines_of(BytesIO(b'{"a": 1}\n{"b"'))) == [b'{"a": 1}']
    assert list(lines_of(BytesIO(b""))) == []
    assert list(lines_of(BytesIO(b"a\xff\n\0\0\0\nb\r\n"))) == [b"a\xff", b"\0\0\0", b"b\r"]
