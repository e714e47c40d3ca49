"""The serving process and the clock: nights when clocks change, and clocks that are set.

The runs' folder is missing, so a run ends at once: what counts here is when runs start, and how many.
"""

import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.interrupts import interrupts_heard

from corpusmill.jobs.driver.signals import GRACE
from corpusmill.jobs.schedules import execution, serve
from corpusmill.jobs.schedules.serve import POLL_INTERVAL, POLL_INTERVAL_RUNNING, Server, pause, startable
from corpusmill.jobs.schedules.store import Schedule, Scheduled, Store

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
AUTUMN = datetime(2026, 10, 24, 12, 0, tzinfo=UTC)


class SetClock:
    """A clock that shows what it was set to; waiting moves it on."""

    def __init__(self, shown: datetime) -> None:
        self.shown = shown

    def now(self) -> datetime:
        return self.shown

    def wait(self, seconds: float) -> None:
        self.shown += timedelta(seconds=seconds)


def schedule(name: str, cron: str, zone: str = "Europe/Berlin") -> Schedule:
    """A schedule whose runs cannot be started."""
    return Schedule(name, "job.yaml", "/nowhere", cron, zone)


def added(folder: Path, now: datetime, *schedules: Schedule) -> Store:
    """A store with schedules, added at a time."""
    store = Store(folder / "schedules.sqlite")
    for one in schedules:
        store.add(one, now)
    return store


def starts(store: Store, clock: SetClock, hours: float, *, each: float = 300.0) -> list[str]:
    """Serves for some hours, looking every few minutes; returns the runs that were started."""
    server = Server(store, workers=4, clock=clock)
    server.resume()
    known, found = len(store.runs()), []
    end = clock.shown + hours * HOUR
    while clock.shown < end:
        server.step()
        new = store.runs()[: len(store.runs()) - known]
        found += [f"{run.schedule} {run.run_date} at {clock.shown:%d %H:%M}" for run in reversed(new)]
        known += len(new)
        clock.wait(each)
    server.step()
    return found


def test_the_night_the_clocks_go_back(tmp_path: Path) -> None:
    """Two o'clock comes twice in Berlin, and a daily job runs once; an hourly one follows the clock."""
    store = added(tmp_path, AUTUMN, schedule("nightly", "0 2 * * *"), schedule("hourly", "0 */2 * * *"))
    found = starts(store, SetClock(AUTUMN), 30)
    assert [run for run in found if run.startswith("nightly")] == ["nightly 2026-10-25 at 25 00:00"]
    hourly = [run.partition(" at ")[2] for run in found if run.startswith("hourly 2026-10-25")]
    assert hourly[:4] == ["24 22:00", "25 00:00", "25 01:00", "25 03:00"]


def test_the_night_the_clocks_go_forward(tmp_path: Path) -> None:
    """Two o'clock is left out in Berlin, and a daily job runs at three."""
    spring = datetime(2026, 3, 28, 12, 0, tzinfo=UTC)
    found = starts(added(tmp_path, spring, schedule("nightly", "30 2 * * *")), SetClock(spring), 40)
    assert found == ["nightly 2026-03-29 at 29 01:00", "nightly 2026-03-30 at 30 00:30"]


def test_times_that_were_missed_are_one_run(tmp_path: Path) -> None:
    """Of the last one's date, on whatever day the server comes back."""
    store = added(tmp_path, AUTUMN - 9 * DAY, schedule("late", "50 23 * * *"))
    assert starts(store, SetClock(AUTUMN), 2) == ["late 2026-10-23 at 24 12:00"]


def test_a_clock_that_is_set_forward_loses_nothing(tmp_path: Path) -> None:
    """What it jumped over is one run."""
    store = added(tmp_path, AUTUMN, schedule("nightly", "0 2 * * *"))
    clock = SetClock(AUTUMN)
    server = Server(store, workers=4, clock=clock)
    assert server.step() == POLL_INTERVAL
    clock.shown += 3 * DAY
    server.step()
    server.step()
    assert [run.run_date for run in store.runs()] == ["2026-10-27"]


def test_a_clock_that_is_set_back_a_little_repeats_nothing(tmp_path: Path) -> None:
    """As after a correction from the net."""
    store = added(tmp_path, AUTUMN, schedule("nightly", "0 2 * * *"))
    clock = SetClock(AUTUMN)
    server = Server(store, workers=4, clock=clock)
    for shown in (AUTUMN + 12 * HOUR, AUTUMN + 11 * HOUR, AUTUMN + 12 * HOUR, AUTUMN + 13 * HOUR):
        clock.shown = shown
        server.step()
    assert len(store.runs()) == 1


@pytest.mark.parametrize("restarted", [False, True])
def test_a_clock_that_was_years_ahead_stops_no_schedule(tmp_path: Path, restarted: bool) -> None:
    """The due time that was computed from it is computed anew, also by a later process."""
    store = added(tmp_path, AUTUMN, schedule("nightly", "0 2 * * *"))
    clock = SetClock(AUTUMN + 3650 * DAY)
    server = Server(store, workers=4, clock=clock)
    server.step()
    clock.shown = AUTUMN
    if restarted:
        server = Server(store, workers=4, clock=clock)
    server.step()
    (scheduled,) = store.scheduled()
    assert scheduled.due == AUTUMN + 12 * HOUR


def test_what_starts_is_due_free_and_the_longest_due() -> None:
    """A schedule under way stays due."""
    dues = {"a": AUTUMN, "b": AUTUMN - HOUR, "c": AUTUMN - 2 * HOUR, "d": AUTUMN + HOUR, "e": None}
    scheduled = [Scheduled(schedule(name, "0 2 * * *"), due) for name, due in dues.items()]

    def names(free: int, *busy: str) -> list[str]:
        return [one.schedule.name for one in startable(scheduled, AUTUMN, busy=busy, free=free)]

    assert names(4) == ["c", "b", "a"]
    assert names(2) == ["c", "b"]
    assert names(2, "c") == ["b", "a"]
    assert names(0) == names(-1) == []
    assert startable(scheduled[-2:], AUTUMN + HOUR, busy=(), free=4) == scheduled[-2:-1]


def test_it_waits_until_the_next_due_time_and_never_for_long() -> None:
    """So that changes by other processes and the end of runs are seen."""
    soon = Scheduled(schedule("a", "0 2 * * *"), AUTUMN + timedelta(seconds=0.05))
    past = Scheduled(schedule("b", "0 2 * * *"), AUTUMN - HOUR)
    never = Scheduled(schedule("c", "0 2 * * *"), None)
    assert pause([], AUTUMN, running=False) == pause([past, never], AUTUMN, running=False) == POLL_INTERVAL
    assert pause([past], AUTUMN, running=True) == POLL_INTERVAL_RUNNING
    assert pause([past, soon], AUTUMN, running=True) == pytest.approx(0.05)


def test_runs_that_do_not_end_are_killed_before_the_server_has_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them share one deadline, which lies within what the serving process has itself."""
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    deaf += "; print(flush=True); time.sleep(600)"
    monkeypatch.setattr(execution, "PROGRAM", (sys.executable, "-c", deaf))
    monkeypatch.setattr(serve, "RUN_GRACE", 0.5)
    assert 0 < execution.RUN_GRACE < GRACE
    store = Store(tmp_path / "schedules.sqlite")
    for name in ("a", "b"):
        store.add(Schedule(name, "job.yaml", str(tmp_path), "0 2 * * *", "UTC"), AUTUMN)
        store.set_due(name, AUTUMN)
    server = Server(store, workers=4, clock=SetClock(AUTUMN))
    server.step()
    while any(store.output_file(run.id, "json").stat().st_size == 0 for run in store.runs()):
        time.sleep(0.01)
    waits: list[float] = []
    end = execution.Execution.wait_for_end
    monkeypatch.setattr(
        execution.Execution, "wait_for_end", lambda self, seconds: (waits.append(seconds), end(self, seconds))
    )
    server.stop()
    assert [(run.state, run.message) for run in store.runs()] == [
        ("interrupted", "its process was ended")
    ] * 2
    first, second = waits
    assert second < first <= 0.5


PROGRAM = """
import sys, time
from datetime import datetime, timedelta, timezone
import typer
from corpusmill.jobs.cli.guard import guarded
from corpusmill.jobs.schedules.serve import SystemClock, serve
from corpusmill.jobs.schedules.store import Store

class Night(SystemClock):
    def now(self):
        return datetime(2026, 10, 25, 1, 0, tzinfo=timezone.utc) + timedelta(seconds=time.monotonic() - BEGAN)

BEGAN = time.monotonic()
store = Store(sys.argv.pop())
typer.run(lambda: guarded(lambda: serve(store, clock=Night()), debug=False))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_serving_can_be_stopped_when_clocks_go_back(tmp_path: Path, number: int, code: int) -> None:
    """From one o'clock UTC on, when it is two o'clock in Berlin for the second time."""
    store = added(tmp_path, AUTUMN, schedule("nightly", "0 2 * * *"))
    command = [sys.executable, "-P", "-c", PROGRAM, str(store.path)]
    with interrupts_heard():
        started = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    with started as process:
        assert process.stderr is not None
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        lines = [process.stderr.readline() for _ in range(3)]
        process.send_signal(number)
        _, left = process.communicate()
        watchdog.cancel()
    assert lines[0].startswith("serving 1 schedule(s)")
    assert lines[1] == "nightly #1 2026-10-25: running\n"
    assert lines[2].startswith("nightly #1 2026-10-25: failed: error: cannot be started")
    assert "committed units are kept" in left
    assert process.returncode == code
