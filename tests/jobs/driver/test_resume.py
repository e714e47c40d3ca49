"""Running again: only what is missing is processed, and what is committed is never touched."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from workshop import Workshop

from corpusmill.pipeline.engine.inline import InlineEngine
from corpusmill.pipeline.errors import JobFailed


def marks(folder: Path) -> dict[str, tuple[int, int]]:
    """What changes when a file is written again: its inode and modification time."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in sorted(folder.iterdir())}


def rewrite(path: Path) -> None:
    """Writes a file again later, so that its modification mark differs."""
    path.write_bytes(path.read_bytes())
    later = time.time() + 5
    os.utime(path, (later, later))


class KilledError(Exception):
    """Stands for a kill in the middle of a run."""


def kill_after(units: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the next run die after so many committed units, before it notes the last of them."""
    undisturbed = InlineEngine.run

    def dying(self: InlineEngine, pending: Any) -> Any:
        count = 0
        for outcome in undisturbed(self, pending):
            count += outcome is not None  # None is a heartbeat
            if count >= units:
                raise KilledError
            yield outcome

    monkeypatch.setattr(InlineEngine, "run", dying)


def mixed_input(workshop: Workshop) -> None:
    """Two files, with rejects in one."""
    workshop.lines([json.dumps({"id": i, "text": f"text {i}"}) if i % 6 else "{" for i in range(30)])
    workshop.table({"id": list(range(100, 120)), "text": [f"word {i}" for i in range(20)]})


def test_lost_data_files_are_made_again_with_the_same_bytes(workshop: Workshop) -> None:
    """And only they: the others are not even opened for writing."""
    mixed_input(workshop)
    first = workshop.run()
    before, times = workshop.data(), marks(workshop.output / "data")
    manifest = (workshop.output / "_manifest.parquet").read_bytes()
    lost = list(before)[1::3]
    for name in lost:
        (workshop.output / "data" / name).unlink()
    again = workshop.run()
    assert workshop.data() == before
    after = marks(workshop.output / "data")
    assert {name for name in before if after[name] == times[name]} == set(before) - set(lost)
    assert again.skipped_units == first.units - len(lost)
    assert (again.rows, again.rejected, again.tokens, again.units) == (
        first.rows,
        first.rejected,
        first.tokens,
        first.units,
    )
    assert (workshop.output / "_manifest.parquet").read_bytes() == manifest


@pytest.mark.parametrize("units", [1, 2, 5, 7])
def test_a_run_that_dies_anywhere_is_continued_to_the_same_bytes(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, units: int
) -> None:
    """Killed after a commit that was not noted: the same data, rejects and manifest as an undisturbed run."""
    mixed_input(workshop)
    workshop.run(output__path=str(workshop.folder / "whole"))
    kill_after(units, monkeypatch)
    with pytest.raises(KilledError):
        workshop.run()
    monkeypatch.undo()
    assert not (workshop.output / "_manifest.parquet").exists()
    checked = json.loads(workshop.cli("verify", workshop.output, "--json").stdout)
    assert (checked["ok"], checked["complete"], checked["units"]) == (True, False, units)
    assert workshop.run().skipped_units == units
    for name in ("data", "rejects"):
        whole = {path.name: path.read_bytes() for path in (workshop.folder / "whole" / name).iterdir()}
        assert {path.name: path.read_bytes() for path in (workshop.output / name).iterdir()} == whole
    manifests = [
        pq.read_table(folder / "_manifest.parquet") for folder in (workshop.folder / "whole", workshop.output)
    ]
    assert manifests[0].equals(manifests[1])


def test_a_finished_job_has_nothing_to_do(workshop: Workshop) -> None:
    """The second run skips every unit, loads no model and changes no file of the output but its records."""
    mixed_input(workshop)
    first = workshop.run()
    before = marks(workshop.output / "data") | marks(workshop.output / "rejects")
    again = workshop.run()
    assert again.skipped_units == again.units == first.units
    assert again.workers_peak == 0
    assert marks(workshop.output / "data") | marks(workshop.output / "rejects") == before
    result = workshop.cli("run", workshop.job())
    assert f"({first.units} were done before)" in result.stdout


def test_records_cut_by_a_kill_do_not_matter(workshop: Workshop) -> None:
    """Receipts are a shortcut: half a line, or none at all, and the data files speak for themselves."""
    mixed_input(workshop)
    first = workshop.run()
    for keep in (0, 100, 777):
        path = workshop.output / "_job" / "receipts.jsonl"
        path.write_bytes(path.read_bytes()[:keep])
        again = workshop.run()
        assert (again.rows, again.rejected, again.tokens) == (first.rows, first.rejected, first.tokens)
        assert workshop.cli("verify", workshop.output).exit_code == 0


def test_a_new_input_file_alone_is_processed(workshop: Workshop) -> None:
    """The old units stay; the manifest lists all."""
    workshop.numbered(20)
    workshop.run()
    before = marks(workshop.output / "data")
    workshop.numbered(5, "in/0-before-a.jsonl", start=50)
    again = workshop.run()
    assert (again.rows, again.units, again.skipped_units) == (25, 4, 3)
    after = marks(workshop.output / "data")
    assert {name: after[name] for name in before} == before
    assert workshop.read()["id"].to_pylist() == [*range(50, 55), *range(20)]
    assert workshop.cli("verify", workshop.output).exit_code == 0


def test_an_output_with_more_to_do_is_unfinished_until_all_of_it_is_done(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finished job, a new file, a kill: what is there verifies as unfinished, not as damaged."""
    workshop.numbered(8)
    workshop.run()
    workshop.numbered(24, "in/b.jsonl")
    kill_after(2, monkeypatch)
    with pytest.raises(KilledError):
        workshop.run()
    monkeypatch.undo()
    checked = json.loads(workshop.cli("verify", workshop.output, "--json").stdout)
    assert (checked["ok"], checked["complete"], checked["units"]) == (True, False, 3)
    assert workshop.run().skipped_units == 3


@pytest.mark.parametrize("change", [rewrite, Path.unlink])
def test_an_input_that_changed_or_went_away_is_refused(workshop: Workshop, change: Any) -> None:
    """Its rows would be there twice, or stay for ever; the output is left alone."""
    source = workshop.numbered(10)
    workshop.numbered(10, "in/b.jsonl")
    workshop.run()
    before = workshop.data()
    change(source)
    result = workshop.cli("run", workshop.job())
    assert result.exit_code == 2
    for word in (
        "output.path",
        "2 units of inputs that changed or are gone",
        str(source),
        "restore them, choose another output.path",
        "--incremental",
    ):
        assert word in result.stderr
    assert workshop.data() == before


def test_a_failed_run_keeps_what_it_did_and_says_how_to_go_on(workshop: Workshop) -> None:
    """A bad row under `on_bad_row: fail` in the last unit: the others are committed, and nothing is final."""
    workshop.lines([json.dumps({"id": i, "text": "a"}) for i in range(20)] + ["no json"])
    result = workshop.cli("run", workshop.job(input__on_bad_row="fail"))
    assert result.exit_code == 1
    assert "1 unit(s) could not be finished" in result.stderr
    assert "16 rows are committed, run the same command again to continue" in result.stderr
    assert len(workshop.data()) == 2
    assert not (workshop.output / "_manifest.parquet").exists()


def test_an_interrupt_keeps_the_state_and_exits_with_130(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the middle: the message says how to go on, and going on finishes the job."""
    workshop.numbered(30)

    def interrupted(self: InlineEngine, pending: Any) -> Any:
        yield next(undisturbed(self, pending))
        raise KeyboardInterrupt

    undisturbed = InlineEngine.run
    monkeypatch.setattr(InlineEngine, "run", interrupted)
    job = workshop.job()
    result = workshop.cli("run", job)
    assert result.exit_code == 130
    assert f"interrupted; committed units are kept, continue with: corpusmill run {job}" in result.stderr
    assert "Traceback" not in result.stderr
    monkeypatch.undo()
    assert len(workshop.data()) == 1
    assert workshop.run().skipped_units == 1


@pytest.mark.parametrize("lost", [0, 1, -1])
def test_an_engine_that_loses_a_unit_is_found_out(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    """No manifest over a hole: a first, middle or last unit forgotten in silence fails the job."""
    workshop.numbered(30)
    undisturbed = InlineEngine.run

    def forgetful(self: InlineEngine, pending: Any) -> Any:
        outcomes = list(filter(None, undisturbed(self, pending)))  # without heartbeats
        unit = outcomes.pop(lost).record.unit
        (workshop.output / "data" / f"{unit}.arrow").unlink()
        yield from outcomes

    monkeypatch.setattr(InlineEngine, "run", forgetful)
    with pytest.raises(JobFailed, match="units of this file are missing although no unit failed"):
        workshop.run()
    assert not (workshop.output / "_manifest.parquet").exists()


@pytest.mark.parametrize("lost", [slice(0, 1), slice(0, None)], ids=["one", "all"])
def test_a_run_ends_well_only_over_data_files_that_are_there(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, lost: slice
) -> None:
    """Committed files that vanish before the end fail the job by name; the same command does them anew."""
    workshop.numbered(30)
    undisturbed = InlineEngine.run

    def robbed(self: InlineEngine, pending: Any) -> Any:
        yield from undisturbed(self, pending)
        for path in sorted((workshop.output / "data").iterdir())[lost]:
            path.unlink()

    monkeypatch.setattr(InlineEngine, "run", robbed)
    with pytest.raises(JobFailed, match=r"4 units, but (1|4) are not listed there and .*\.arrow is missing"):
        workshop.run()
    assert not (workshop.output / "_manifest.parquet").exists()
    monkeypatch.undo()
    assert workshop.run().rows == 30
    assert len(workshop.data()) == 4
