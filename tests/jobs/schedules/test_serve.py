"""The process that runs schedules, with real runs: what is due, missed, interrupted, killed."""

import itertools
import os
import re
import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.office import Office

from corpusmill.jobs.driver.owner import process_start
from corpusmill.jobs.schedules.store import Run
from corpusmill.jobs.verify.verify import verify

ROWS = 100


def many_units(office: Office) -> None:
    """Makes a run of a unit a row, so that it can be disturbed between two."""
    job = office.folder / "job.yaml"
    job.write_text(job.read_text().replace("rows_per_unit: 8", "rows_per_unit: 1"))
    office.rows(ROWS)


@contextmanager
def held(office: Office) -> Iterator[int]:
    """Keeps the run that is under way from going on, once it has begun to commit: no clock decides."""
    office.wait(lambda: office.committed() > 3)
    (pid,) = [run.pid for run in office.store.runs() if run.ended is None]
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield pid
    finally:
        with suppress(ProcessLookupError):  # A server ends a run that does not end when asked.
            os.kill(pid, signal.SIGCONT)


def asked_to_end(pid: int) -> bool:
    """Whether SIGTERM waits for a process that is stopped, or it has been ended since."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True
    (pending,) = re.findall(r"^ShdPnd:\s*(\w+)", status, re.MULTILINE)
    return bool(int(pending, 16) >> (signal.SIGTERM - 1) & 1)


def overlaps(runs: list[Run]) -> list[tuple[int, int]]:
    """Runs that were under way at one time."""
    ordered = sorted(runs, key=lambda run: run.started)
    return [
        (one.id, next_.id)
        for one, next_ in itertools.pairwise(ordered)
        if one.ended is None or next_.started < one.ended
    ]


@pytest.mark.slow
def test_runs_do_what_is_new_and_history_says_so(office: Office) -> None:
    """Missed times count once; a second server is refused; a failure is told to its command."""
    office.add("--on-failure", f'echo "$CORPUSMILL_SCHEDULE: $CORPUSMILL_REASON" >> {office.folder}/told')
    office.store.set_due("nightly", datetime.now(UTC) - timedelta(days=5))
    office.serve()
    office.ended(1)
    second = office.call("serve")
    assert second.exit_code == 1
    assert f"is served already by process {office.processes[0].pid}" in second.stderr

    office.rows(8, "b.jsonl")
    office.due()
    office.ended(2)
    for path in (office.folder / "in").iterdir():
        path.unlink()
    office.due()
    office.ended(3)
    office.wait((office.folder / "told").exists)

    first, second, third = reversed(office.json("history", "nightly")["runs"])
    assert (first["state"], first["rows"], first["rejected"]) == ("done", 16, 0)
    assert (second["state"], second["rows"], second["output"]) == ("done", 8, str(office.folder / "out"))
    assert (third["state"], third["rows"]) == ("failed", None)
    assert "input.path" in third["message"]
    assert (office.folder / "told").read_text() == f"nightly: {third['message']}\n"
    shown = office.call("history").stdout.splitlines()
    assert [("done" in line, "failed" in line) for line in shown] == [
        (False, True),
        (True, False),
        (True, False),
    ]
    assert first["seconds"] > 0
    assert len(office.store.runs()) == 3


@pytest.mark.slow
def test_a_time_that_passes_during_a_run_is_run_once_afterwards(office: Office) -> None:
    """Two of them are one; no two runs are under way at once."""
    many_units(office)
    office.add()
    office.serve()
    office.due()
    with held(office):
        for _ in range(2):
            office.due()
        assert [run.state for run in office.store.runs()] == ["running"]
    runs = office.ended(2)
    (scheduled,) = office.store.scheduled()
    assert scheduled.due is not None
    assert scheduled.due > datetime.now(UTC)
    assert [run.state for run in runs] == ["done", "done"]
    assert [run.rows for run in runs] == [ROWS, 0]
    assert overlaps(runs) == []
    assert len(office.store.runs()) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.exhaustive), signal.SIGKILL]
)
def test_a_restart_loses_nothing(office: Office, number: signal.Signals) -> None:
    """A run that is told to end is continued at once; one that goes on by itself is waited for."""
    many_units(office)
    office.add()
    first = office.serve()
    office.due()
    with held(office) as pid:
        first.send_signal(number)
        # A server that is too slow to end its runs ends without: then the run goes on by itself.
        office.wait(lambda: asked_to_end(pid) or first.poll() is not None)
    assert first.wait(90) == {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGKILL: -9}[number]
    (run,) = office.store.runs()
    # A slow machine ends the server before the run that it told to end has done so.
    assert run.state in ("running", *["interrupted"][: number is not signal.SIGKILL])
    office.serve()
    runs = office.ended(2)
    assert runs[0].state in ("interrupted", "done")
    assert runs[1].state == "done"
    assert overlaps(runs) == []
    result = verify(str(office.folder / "out"))
    assert (result.ok, result.complete, result.rows) == (True, True, ROWS)


@pytest.mark.slow
def test_a_run_that_is_killed_has_failed_and_the_next_one_continues(office: Office) -> None:
    """As after the system ran out of memory."""
    many_units(office)
    office.add()
    office.serve()
    office.due()
    office.wait(lambda: office.committed() > 3)
    (run,) = office.store.runs()
    assert run.pid is not None
    assert process_start(run.pid) == run.process_start
    os.kill(run.pid, signal.SIGKILL)
    (failed,) = office.ended(1)
    assert (failed.state, failed.message) == ("failed", "its process was ended")
    office.due()
    assert [found.state for found in office.ended(2)] == ["failed", "done"]
    assert verify(str(office.folder / "out")).rows == ROWS


@pytest.mark.slow
def test_a_schedule_that_is_added_while_it_serves_is_run(office: Office) -> None:
    """And one that is removed is not."""
    office.add("--name", "gone")
    office.serve()
    office.add("--set", f"output.path={shlex.quote(str(office.folder / 'other'))}")
    office.call("remove", "gone")
    office.due("gone")
    office.due()
    (run,) = office.ended(1)
    assert (run.schedule, run.state, run.output) == ("nightly", "done", str(office.folder / "other"))
