"""Inputs that change, shrink or go away under a running job: their units fail, the others are done."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from workshop import Workshop

from corpusmill.pipeline.engine.inline import InlineEngine

Change = Callable[[Path], None]


def rewritten(path: Path) -> None:
    """The same number of bytes, all of them others."""
    path.write_bytes(path.read_bytes().replace(b"text", b"TEXT").replace(b"TEXT", b"text", 1))


def touched(path: Path) -> None:
    """Nothing but the modification mark."""
    os.utime(path, (1, 1))


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def removed(path: Path) -> None:
    path.unlink()


def a_folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


CHANGES: dict[str, tuple[Change, str]] = {
    "rewritten": (rewritten, "expected the file that was planned"),
    "touched": (touched, "expected the file that was planned"),
    "cut": (cut, "expected the file that was planned"),
    "emptied": (emptied, "expected the file that was planned"),
    "removed": (removed, "expected a file, found none; was it removed?"),
    "a folder instead": (a_folder_instead, "expected the file that was planned"),
}


def after_units(units: int, change: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes something happen once so many units are committed."""
    undisturbed = InlineEngine.run

    def disturbed(self: InlineEngine, pending: Any) -> Any:
        count = 0
        for outcome in undisturbed(self, pending):
            count += outcome is not None  # None is a heartbeat
            if outcome is not None and count == units:
                change()
            yield outcome

    monkeypatch.setattr(InlineEngine, "run", disturbed)


@pytest.fixture(params=["jsonl", "parquet"])
def three(request: pytest.FixtureRequest, workshop: Workshop) -> list[Path]:
    """Three files of three units each."""
    if request.param == "jsonl":
        return [workshop.numbered(24, f"in/{name}.jsonl", start=100 * i) for i, name in enumerate("abc")]
    return [
        workshop.table(
            {"id": range(100 * i, 100 * i + 24), "text": [f"text {j} of {i}" for j in range(24)]},
            f"in/{name}.parquet",
            row_group_size=16,
        )
        for i, name in enumerate("abc")
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("change", "words"), CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("units", [1, 4])
def test_the_units_of_a_changed_file_fail_and_the_others_are_done(
    workshop: Workshop,
    three: list[Path],
    change: Change,
    words: str,
    units: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before the file is opened, and in the middle of it; exit code 1, nothing wrong is committed."""
    workshop.run(output__path=str(workshop.folder / "whole"))
    whole = {path.name: path.read_bytes() for path in (workshop.folder / "whole" / "data").iterdir()}
    after_units(units, lambda: change(three[1]), monkeypatch)
    result = workshop.cli("run", workshop.job())
    assert result.exit_code == 1
    assert f"{three[1]}: {words}" in result.stderr
    assert "run the same command again to continue" in result.stderr
    assert "Traceback" not in result.stderr
    found = workshop.data()
    assert {name: whole[name] for name in found} == found
    sources = [
        json.loads(line)["source"]
        for line in (workshop.output / "_job" / "receipts.jsonl").read_text().splitlines()
    ]
    counts = [sources.count(str(path)) for path in three]
    assert counts[0] == counts[2] == 3
    assert counts[1] == (0 if units == 1 else 1)
    assert not (workshop.output / "_manifest.parquet").exists()
    assert workshop.cli("verify", workshop.output).exit_code == 0


def test_many_changed_files_among_others_do_not_stop_a_job(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only failures in a row do: then it is no matter of single files."""
    files = [workshop.numbered(4, f"in/{i:02}.jsonl", start=10 * i) for i in range(60)]
    after_units(1, lambda: [path.unlink() for path in files[2::2]] and None, monkeypatch)
    result = workshop.cli("run", workshop.job())
    assert result.exit_code == 1
    assert "29 unit(s) could not be finished" in result.stderr
    assert "124 rows are committed" in result.stderr


def test_a_job_whose_units_all_fail_gives_up(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would only repeat the same reason."""
    files = [workshop.numbered(4, f"in/{i:02}.jsonl", start=10 * i) for i in range(60)]
    after_units(1, lambda: [path.unlink() for path in files[1:]] and None, monkeypatch)
    result = workshop.cli("run", workshop.job())
    assert result.exit_code == 1
    assert "20 unit(s) could not be finished" in result.stderr


def test_after_a_change_the_same_command_does_what_is_there_now(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing of the changed file was committed; else its rows would be there twice."""
    workshop.numbered(16)
    second = workshop.numbered(16, "in/b.jsonl", start=100)
    after_units(1, lambda: rewritten(second), monkeypatch)
    job = workshop.job()
    assert workshop.cli("run", job).exit_code == 1
    monkeypatch.undo()
    assert workshop.cli("run", job).exit_code == 0
    assert workshop.cli("verify", workshop.output).exit_code == 0
    assert len(workshop.read()) == 32
