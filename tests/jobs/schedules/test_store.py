"""The file with schedules and runs: what a due time survives, and stores of APScheduler's time."""

import json
import pickle
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from corpusmill.jobs.errors import ScheduleError
from corpusmill.jobs.schedules.store import Schedule, Store

NOW = datetime(2026, 10, 24, 22, 30, 0, 123456, tzinfo=UTC)
LATER = NOW + timedelta(hours=5)
OLD = """
CREATE TABLE schedules (name TEXT PRIMARY KEY, fields TEXT NOT NULL);
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, schedule TEXT NOT NULL, run_date TEXT NOT NULL, state TEXT NOT NULL,
    started REAL NOT NULL, ended REAL, pid INTEGER, process_start TEXT, rows INTEGER, rejected INTEGER,
    stale_units INTEGER, seconds REAL, output TEXT, message TEXT NOT NULL DEFAULT ''
);
CREATE INDEX runs_of_schedule ON runs (schedule, id);
CREATE TABLE apscheduler_jobs (
    id VARCHAR(191) NOT NULL, next_run_time FLOAT, job_state BLOB NOT NULL, PRIMARY KEY (id)
);
CREATE INDEX ix_apscheduler_jobs_next_run_time ON apscheduler_jobs (next_run_time);
INSERT INTO runs (schedule, run_date, state, started, rows, rejected)
    VALUES ('nightly', '2026-10-24', 'done', 1.5, 7, 0);
"""


class Hostile:
    """An object whose pickle makes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def schedule(name: str = "nightly", cron: str = "0 2 * * *", zone: str = "Europe/Berlin") -> Schedule:
    """A schedule of a job that is nowhere."""
    return Schedule(name, "/nowhere/job.yaml", "/nowhere", cron, zone, ("--set", "name=a"), "exit 1", 1.25)


def values(one: Schedule) -> str:
    """A schedule as the store of APScheduler's time has it."""
    return json.dumps({name: getattr(one, name) for name in Schedule.__slots__})


def old_store(folder: Path, schedules: list[Schedule], jobs: list[tuple[str, float | None]]) -> Path:
    """A store of APScheduler's time, as its own version wrote it."""
    path = folder / "schedules.sqlite"
    blob = pickle.dumps(Hostile(folder / "executed"))
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(OLD)
        database.executemany("INSERT INTO schedules VALUES (?, ?)", [(s.name, values(s)) for s in schedules])
        rows = [(name, due, blob) for name, due in jobs]
        database.executemany("INSERT INTO apscheduler_jobs VALUES (?, ?, ?)", rows)
    return path


def tables(path: Path) -> set[str]:
    """The tables in a file."""
    with closing(sqlite3.connect(path)) as database:
        return {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_an_old_store_is_converted_once(tmp_path: Path) -> None:
    """Due times, also missed ones, and the history stay; no pickle is read."""
    missed = NOW - timedelta(days=3)
    old = [schedule(), schedule("weekly", "0 3 * * fri-sun", "UTC")]
    path = old_store(tmp_path, old, [("nightly", missed.timestamp()), ("weekly", LATER.timestamp())])
    for _ in range(2):
        store = Store(path)
        assert [(one.schedule, one.due) for one in store.scheduled()] == [(old[0], missed), (old[1], LATER)]
        (run,) = store.runs("nightly")
        assert (run.id, run.run_date, run.state, run.rows) == (1, "2026-10-24", "done", 7)
    assert "apscheduler_jobs" not in tables(path)
    assert not (tmp_path / "executed").exists()
    nightly = store.scheduled()[0]
    assert store.record_start(nightly, run_date="2026-10-25", then=LATER) == 2
    assert [one.due for one in store.scheduled()] == [LATER, LATER]


def test_a_schedule_without_a_time_gets_one(tmp_path: Path) -> None:
    """As one that was being added when its process ended."""
    (converted,) = Store(old_store(tmp_path, [schedule()], [])).scheduled()
    assert converted.due is not None
    assert converted.due > datetime.now(UTC) - timedelta(minutes=1)


@pytest.mark.parametrize(
    ("schedules", "jobs", "named", "reason"),
    [
        ([schedule()], [("nightly", 1.0), ("it's gone", 1.0)], "it's gone", "it has no schedule"),
        ([schedule(cron="0 2 last * *")], [("nightly", 1.0)], "nightly", "expected a day from 1 to 31"),
        ([schedule(zone="Mars")], [("nightly", 1.0)], "nightly", "expected a time zone"),
    ],
)
def test_what_cannot_be_converted_is_named(
    tmp_path: Path, schedules: list[Schedule], jobs: list[tuple[str, float | None]], named: str, reason: str
) -> None:
    """Nothing is changed; the command that the error shows is the way out."""
    path = old_store(tmp_path, schedules, jobs)
    before = path.read_bytes()
    with pytest.raises(ScheduleError, match=reason) as error:
        Store(path)
    assert repr(named) in str(error.value)
    assert path.read_bytes() == before
    sqlite = tmp_path / "bin/sqlite3"
    sqlite.parent.mkdir()
    sqlite.write_text(
        f"#!{sys.executable}\nimport sqlite3, sys\nsqlite3.connect(sys.argv[1]).executescript(sys.argv[2])\n"
    )
    sqlite.chmod(0o755)
    command = str(error.value).partition("again: ")[2]
    subprocess.run(["sh", "-c", command], check=True, env={"PATH": f"{sqlite.parent}:/usr/bin:/bin"})
    assert [one.schedule.name for one in Store(path).scheduled()] == ["nightly"] * (named != "nightly")


def test_a_store_that_an_earlier_version_serves_is_left_alone(tmp_path: Path) -> None:
    """Its process would lose its tables."""
    path = old_store(tmp_path, [schedule()], [("nightly", LATER.timestamp())])
    served = Store(tmp_path / "other" / path.name)
    served.path = path
    with (
        served.serving_lock(),
        pytest.raises(ScheduleError, match=r"served already by process \d+ of an earlier"),
    ):
        Store(path)
    assert "apscheduler_jobs" in tables(path)
    assert len(Store(path).scheduled()) == 1


def test_a_store_of_a_later_version_is_refused(tmp_path: Path) -> None:
    """Its due times may mean something else."""
    path = Store(tmp_path / "schedules.sqlite").path
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 2")
    with pytest.raises(ScheduleError, match="expected a store of version 1, got 2"):
        Store(path)


@pytest.mark.parametrize("make", [lambda path: path.write_text("name: a job\n" * 100), Path.mkdir])
def test_a_file_that_is_no_store_is_said(tmp_path: Path, make: Any) -> None:
    """With its path."""
    make(tmp_path / "job.yaml")
    with pytest.raises(ScheduleError, match=r"job\.yaml: expected a usable store of schedules"):
        Store(tmp_path / "job.yaml")


def test_a_due_time_is_used_once(tmp_path: Path) -> None:
    """The run and the next due time are noted together; what changed meanwhile is looked at again."""
    store = Store(tmp_path / "schedules.sqlite")
    assert store.add(schedule(), NOW) == datetime(2026, 10, 25, 0, 0, tzinfo=UTC)
    (before,) = store.scheduled()
    assert store.record_start(before, run_date="2026-10-25", then=LATER) == 1
    assert store.record_start(before, run_date="2026-10-25", then=LATER) is None
    (after,) = store.scheduled()
    store.remove("nightly")
    assert store.record_start(after, run_date="2026-10-26", then=LATER) is None
    assert [run.run_date for run in store.runs()] == ["2026-10-25"]


def test_times_that_never_come_are_refused(tmp_path: Path) -> None:
    """The 1st or 21st that is also the last Monday of its month."""
    store = Store(tmp_path / "schedules.sqlite")
    with pytest.raises(ScheduleError, match="expected cron fields that fit"):
        store.add(schedule(cron="0 2 */20 * 1L"), NOW)
    assert store.scheduled() == []
