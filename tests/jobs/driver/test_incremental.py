"""Inputs that come, change and go between runs: only what is new is computed, the rest marked and pruned."""

import json
import os
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from workshop import Workshop, read_output

from corpusmill.jobs import JobConfig, RunResult, run
from corpusmill.jobs.verify.verify import verify
from corpusmill.pipeline.errors import OutputError


def nightly(workshop: Workshop, day: int = 26, **changes: object) -> RunResult:
    """Runs the job as a schedule does."""
    config = JobConfig.from_dict(workshop.fields(**changes))
    return run(config, executor="inline", run_date=date(2026, 11, day), incremental=True)


def states(folder: Path) -> list[tuple[str, str, int]]:
    """What the manifest says of each data file: its source's name, its state, its rows."""
    rows = pq.read_table(folder / "_manifest.parquet").to_pylist()
    return [(Path(row["source"]).name, row["state"], row["rows"]) for row in rows]


@pytest.fixture
def two(workshop: Workshop) -> Workshop:
    """An output of two files, of two units each."""
    workshop.numbered(16, "in/a.jsonl")
    workshop.numbered(16, "in/b.jsonl", start=100)
    assert nightly(workshop).new_rows == 32
    return workshop


def test_a_new_file_is_all_that_is_computed(two: Workshop) -> None:
    """What is there keeps its bytes."""
    before = two.data()
    two.numbered(8, "in/c.jsonl", start=200)
    result = nightly(two)
    assert (result.new_rows, result.rows, result.skipped_units, result.stale_units) == (8, 40, 4, 0)
    assert before.items() <= two.data().items()
    assert verify(str(two.output)).ok


def test_a_changed_file_is_computed_anew_and_its_old_rows_are_marked(two: Workshop) -> None:
    """Verify lists them, and they count nowhere."""
    two.numbered(24, "in/a.jsonl", start=300)
    result = nightly(two)
    assert (result.new_rows, result.rows, result.stale_units) == (24, 40, 2)
    assert states(two.output) == [
        *[("a.jsonl", "current", 8)] * 3,
        *[("b.jsonl", "current", 8)] * 2,
        *[("a.jsonl", "replaced", 8)] * 2,
    ]
    checked = verify(str(two.output))
    assert (checked.ok, checked.rows, len(checked.stale)) == (True, 40, 2)
    shown = two.cli("verify", two.output)
    assert shown.exit_code == 0
    assert [line for line in shown.stdout.splitlines() if "stale: data/" in line] == [
        f"  stale: {name}" for name in checked.stale
    ]


def test_a_removed_file_is_marked(two: Workshop) -> None:
    """With nothing to compute the manifest is written anew."""
    (two.folder / "in/b.jsonl").unlink()
    result = nightly(two)
    assert (result.new_rows, result.rows, result.stale_units) == (0, 16, 2)
    assert states(two.output)[2:] == [("b.jsonl", "removed", 8)] * 2
    assert verify(str(two.output)).ok


def test_a_file_that_is_back_as_it_was_is_current_again(two: Workshop) -> None:
    """Nothing of it is computed twice."""
    path = two.folder / "in/b.jsonl"
    path.rename(two.folder / "b.jsonl")
    nightly(two)
    (two.folder / "b.jsonl").rename(path)
    result = nightly(two)
    assert (result.new_rows, result.rows, result.stale_units) == (0, 32, 0)
    assert {state for _, state, _ in states(two.output)} == {"current"}


def test_marks_stay_when_the_job_is_run_without_the_option(two: Workshop) -> None:
    """Only a new change needs it again."""
    two.numbered(8, "in/a.jsonl", start=300)
    nightly(two)
    assert two.run().stale_units == 2
    two.numbered(8, "in/a.jsonl", start=400)
    with pytest.raises(OutputError, match="--incremental"):
        two.run()


def test_prune_shows_and_then_removes(two: Workshop) -> None:
    """Data files and rejects; the output is whole before and after; a second time there is nothing."""
    two.lines(["no json"], "in/bad.jsonl")
    nightly(two)
    (two.folder / "in/bad.jsonl").unlink()
    two.numbered(8, "in/a.jsonl", start=300)
    nightly(two)
    assert len(two.data()) == 6
    shown = json.loads(two.cli("prune", two.output, "--json").stdout)
    assert (len(shown["files"]), shown["rows"], shown["removed"]) == (3, 16, False)
    assert len(two.data()) == 6
    assert "remove with --yes" in two.cli("prune", two.output).stdout

    removed = json.loads(two.cli("prune", two.output, "--yes", "--json").stdout)
    assert removed == shown | {"removed": True}
    assert len(two.data()) == 3
    assert two.rejects() == []
    checked = verify(str(two.output))
    assert (checked.ok, checked.rows, checked.stale) == (True, 24, ())
    assert json.loads(two.cli("prune", two.output, "--json").stdout)["files"] == []
    assert nightly(two).new_rows == 0


def test_a_prune_that_was_cut_short_leaves_a_whole_output(
    two: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next one finishes it."""
    two.numbered(8, "in/a.jsonl", start=300)
    nightly(two)
    from corpusmill.pipeline.output.folder import OutputFolder

    removing = OutputFolder.remove

    def cut(self: OutputFolder, path: str) -> None:
        if "/data/" in path:
            raise KeyboardInterrupt
        removing(self, path)

    with monkeypatch.context() as broken:
        broken.setattr(OutputFolder, "remove", cut)
        assert two.cli("prune", two.output, "--yes").exit_code == 130
    checked = verify(str(two.output))
    assert (checked.ok, checked.problems, len(checked.stale)) == (True, (), 2)
    two.cli("prune", two.output, "--yes")
    assert len(two.data()) == 3


def test_an_interrupted_run_does_not_forget_what_is_stale(
    two: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan is replaced before the work; the marks are there before it."""
    from corpusmill.pipeline.engine.inline import InlineEngine

    two.numbered(8, "in/a.jsonl", start=300)

    def interrupted(self: object, pending: object) -> object:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(InlineEngine, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            nightly(two)
    result = two.run()
    assert (result.rows, result.stale_units) == (24, 2)
    assert verify(str(two.output)).ok


@pytest.fixture
def dated(workshop: Workshop) -> Workshop:
    """A job with an output a date, run once."""
    workshop.numbered(16, "in/a.jsonl")
    workshop.numbered(16, "in/b.jsonl", start=100)
    assert nightly(workshop, 24, output__path=str(workshop.output / "{run_date}")).rows == 32
    return workshop


def template(workshop: Workshop) -> str:
    return str(workshop.output / "{run_date}")


def test_a_dates_output_has_what_no_other_date_has(dated: Workshop) -> None:
    """New files in today's; what changed is marked where it was."""
    dated.numbered(8, "in/c.jsonl", start=200)
    dated.numbered(8, "in/a.jsonl", start=300)
    result = nightly(dated, 25, output__path=template(dated))
    assert (result.rows, result.new_rows) == (16, 16)
    assert result.output == str(dated.output / "2026-11-25")
    assert read_output(dated.output / "2026-11-25")["id"].to_pylist() == [*range(300, 308), *range(200, 208)]
    assert states(dated.output / "2026-11-24") == [
        *[("b.jsonl", "current", 8)] * 2,
        *[("a.jsonl", "replaced", 8)] * 2,
    ]
    for day in ("2026-11-24", "2026-11-25"):
        assert verify(str(dated.output / day)).ok
    assert nightly(dated, 26, output__path=template(dated)).rows == 0


def test_an_unfinished_date_is_finished_first_with_its_own_inputs(
    dated: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of all dates together are the input's, each once."""
    from corpusmill.pipeline.engine.inline import InlineEngine

    dated.numbered(16, "in/c.jsonl", start=200)
    whole = InlineEngine.run

    def cut(self: InlineEngine, pending: object) -> object:
        yield next(whole(self, pending))  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(InlineEngine, "run", cut)
        with pytest.raises(KeyboardInterrupt):
            nightly(dated, 25, output__path=template(dated))
    dated.numbered(8, "in/d.jsonl", start=400)
    nightly(dated, 26, output__path=template(dated))
    found = {day: read_output(dated.output / f"2026-11-{day}")["id"].to_pylist() for day in (24, 25, 26)}
    assert found[25] == [*range(200, 216)]
    assert found[26] == [*range(400, 408)]
    assert all(verify(str(dated.output / f"2026-11-{day}")).complete for day in found)


def test_other_settings_start_over(dated: Workshop) -> None:
    """Another date's rows of another model are not this job's."""
    result = nightly(dated, 25, output__path=template(dated), input__keep=[])
    assert result.rows == 32


def test_run_date_is_filled_in_by_the_command(workshop: Workshop) -> None:
    """Today unless it is given; any other placeholder is a mistake."""
    workshop.numbered(8)
    job = workshop.job(output__path=template(workshop))
    assert workshop.cli("run", job, "--run-date", "2026-01-31").exit_code == 0
    assert workshop.cli("run", job).exit_code == 0
    assert sorted(os.listdir(workshop.output)) == ["2026-01-31", date.today().isoformat()]
    assert "expected a date such as" in workshop.cli("run", job, "--run-date", "yesterday").stderr
    wrong = workshop.job(output__path=str(workshop.output / "{rundate}"))
    refused = workshop.cli("run", wrong)
    assert refused.exit_code == 2
    assert "output.path: expected {run_date} as the only placeholder, got {rundate}" in refused.stderr
