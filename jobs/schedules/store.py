"""The store of schedules, due times and runs: one SQLite file that all processes share."""

import fcntl
import json
import os
import shlex
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from corpusmill.jobs.errors import ScheduleError
from corpusmill.jobs.schedules.state_folder import state_folder
from corpusmill.jobs.schedules.timetable import Timetable, timetable

VERSION = 1
"""The `user_version` of the file. 0 is an empty file or a store of APScheduler; both are converted."""
TABLES = (
    "CREATE TABLE IF NOT EXISTS schedules (name TEXT PRIMARY KEY, fields TEXT NOT NULL)",
    """CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, schedule TEXT NOT NULL, run_date TEXT NOT NULL, state TEXT NOT NULL,
    started REAL NOT NULL, ended REAL, pid INTEGER, process_start TEXT, rows INTEGER, rejected INTEGER,
    stale_units INTEGER, seconds REAL, output TEXT, message TEXT NOT NULL DEFAULT ''
)""",
    "CREATE INDEX IF NOT EXISTS runs_of_schedule ON runs (schedule, id)",
    "ALTER TABLE schedules ADD COLUMN due REAL",  # seconds since 1970 in UTC; NULL is never
)
RUNNING, DONE, FAILED, INTERRUPTED = "running", "done", "failed", "interrupted"


@dataclass(frozen=True, slots=True)
class Schedule:
    """A job file and its times; relative paths start at `folder`, and `options` go to `corpusmill run`."""

    name: str
    job: str
    folder: str
    cron: str
    timezone: str
    options: tuple[str, ...] = ()
    on_failure: str | None = None
    added: float = field(default_factory=lambda: round(time.time(), 3))

    def timetable(self) -> Timetable:
        """Return the due times; a wrong `cron` or `timezone` is a ScheduleError."""
        return timetable(self.cron, self.timezone)


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A schedule and its next due time in UTC; a time in the past was not served yet, None is never."""

    schedule: Schedule
    due: datetime | None


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a schedule; `rows` and `rejected` are new rows and rejects, None until the run is done."""

    id: int
    schedule: str
    run_date: str
    state: str
    started: float
    ended: float | None
    pid: int | None
    process_start: str | None
    rows: int | None
    rejected: int | None
    stale_units: int | None
    seconds: float | None
    output: str | None
    message: str


class Store:
    """The schedules and runs of one SQLite file; the output files of the runs are beside it."""

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = Path(path).expanduser().absolute() if path else state_folder() / "schedules.sqlite"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._prepare()

    def output_file(self, run: int, suffix: str) -> Path:
        """Return the path of a run's output: `json` is its result, `log` its messages."""
        folder = self.path.with_suffix("") / "runs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{run:06d}.{suffix}"

    def scheduled(self) -> list[Scheduled]:
        """Return all schedules by name, each with its next due time."""
        with self._transaction() as database:
            rows = database.execute("SELECT fields, due FROM schedules ORDER BY name").fetchall()
        return [Scheduled(_schedule(row["fields"]), _datetime(row["due"])) for row in rows]

    def schedule(self, name: str) -> Schedule:
        """Return a schedule; an unknown name is a ScheduleError with the known ones."""
        schedules = {one.schedule.name: one.schedule for one in self.scheduled()}
        if name not in schedules:
            known = f"expected one of: {', '.join(schedules)}" if schedules else "the store has none yet"
            raise ScheduleError(f"{name}: no such schedule; {known}").at("NAME")
        return schedules[name]

    def add(self, schedule: Schedule, now: datetime) -> datetime:
        """Add a schedule and return its first due time; a schedule with a wrong part is not added."""
        due = schedule.timetable().next_due(now)
        if due is None:
            raise ScheduleError(f"expected cron fields that fit at least one day, got {schedule.cron!r}").at(
                "--cron"
            )
        values = (schedule.name, json.dumps(asdict(schedule)), due.timestamp())
        try:
            with self._transaction() as database:
                database.execute("INSERT INTO schedules (name, fields, due) VALUES (?, ?, ?)", values)
        except sqlite3.IntegrityError:
            raise ScheduleError(
                f"{schedule.name}: a schedule of this name exists; remove it first, or give another --name"
            ).at("--name") from None
        return due

    def remove(self, name: str) -> None:
        """Remove a schedule; its history stays, and an active run goes on."""
        self.schedule(name)
        with self._transaction() as database:
            database.execute("DELETE FROM schedules WHERE name = ?", (name,))

    def set_due(self, name: str, due: datetime | None) -> None:
        """Set the next due time of a schedule; later ones follow its cron fields."""
        with self._transaction() as database:
            database.execute("UPDATE schedules SET due = ? WHERE name = ?", (_timestamp(due), name))

    def record_start(self, scheduled: Scheduled, *, run_date: str, then: datetime | None) -> int | None:
        """Note that the run of a due time begins, that the next one is `then`, and return the run's number.

        Both are one transaction, so that no end of the process loses a due time. None says that the schedule
        was removed or changed meanwhile, and that nothing was noted.
        """
        values = (_timestamp(then), scheduled.schedule.name, _timestamp(scheduled.due))
        with self._transaction() as database:
            changed = database.execute("UPDATE schedules SET due = ? WHERE name = ? AND due = ?", values)
            if changed.rowcount == 0:
                return None
            cursor = database.execute(
                "INSERT INTO runs (schedule, run_date, state, started) VALUES (?, ?, ?, ?)",
                (scheduled.schedule.name, run_date, RUNNING, round(time.time(), 3)),
            )
            return int(cursor.lastrowid or 0)

    def update(self, run: int, **values: Any) -> None:
        """Change fields of a run."""
        names = ", ".join(f"{name} = ?" for name in values)
        with self._transaction() as database:
            database.execute(f"UPDATE runs SET {names} WHERE id = ?", (*values.values(), run))

    def run(self, number: int) -> Run:
        """Return an existing run."""
        (run,) = self._runs("WHERE id = ?", (number,))
        return run

    def runs(self, schedule: str | None = None, *, limit: int = -1) -> list[Run]:
        """Return runs, the newest first."""
        where, values = ("WHERE schedule = ?", (schedule,)) if schedule else ("", ())
        return self._runs(f"{where} ORDER BY id DESC LIMIT ?", (*values, limit))

    def unfinished_runs(self) -> list[Run]:
        """Return the runs without a recorded end, the oldest first."""
        return self._runs("WHERE state = ? ORDER BY id", (RUNNING,))

    @contextmanager
    def serving_lock(self) -> Iterator[None]:
        """Hold the lock of the one serving process; the system releases it when that process ends."""
        with self.path.with_suffix(".lock").open("a+", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise ScheduleError(
                    f"{self.path}: is served already by process {lock.read().strip() or 'unknown'}"
                ) from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield

    def _runs(self, clauses: str, values: tuple[Any, ...]) -> list[Run]:
        names = ", ".join(one.name for one in fields(Run))
        with self._transaction() as database:
            rows = database.execute(f"SELECT {names} FROM runs {clauses}", values).fetchall()
        return [Run(**dict(row)) for row in rows]

    def _prepare(self) -> None:
        """Create the tables once, and convert a store of APScheduler."""
        with self._transaction() as database:
            version = _version(database)
        if version > VERSION:
            raise ScheduleError(
                f"{self.path}: expected a store of version {VERSION}, got {version}: use the corpusmill that "
                "made it, or another --store"
            )
        if version < VERSION:
            with self._converting(), self._transaction("IMMEDIATE") as database:
                if _version(database) < VERSION:
                    self._convert(database)

    @contextmanager
    def _converting(self) -> Iterator[None]:
        """Refuse to convert a store while a process of an APScheduler version serves it."""
        with ExitStack() as stack:
            if self.path.with_suffix(".lock").exists():
                try:
                    stack.enter_context(self.serving_lock())
                except ScheduleError as error:
                    raise ScheduleError(
                        f"{error} of an earlier version; end that process, then the store can be converted"
                    ) from None
            yield

    def _convert(self, database: sqlite3.Connection) -> None:
        """Create missing tables, and copy the due times from APScheduler's table.

        That table has a pickle for each job, which is not read: its schedule is in our own table.
        """
        for statement in TABLES:
            database.execute(statement)
        old = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'apscheduler_jobs'").fetchone()
        due = {}
        if old:
            due = dict(database.execute("SELECT id, next_run_time FROM apscheduler_jobs").fetchall())
            database.execute("DROP TABLE apscheduler_jobs")
        rows = database.execute("SELECT name, fields FROM schedules").fetchall()
        for name, text in rows:
            values = (self._converted_due(name, text, due.pop(name, None)), name)
            database.execute("UPDATE schedules SET due = ? WHERE name = ?", values)
        if due:
            raise self._unreadable(next(iter(due)), "it has no schedule")
        database.execute(f"PRAGMA user_version = {VERSION}")

    def _converted_due(self, name: str, text: str, due: Any) -> float | None:
        """Return the due time of a converted schedule; without one it is computed as for a new schedule."""
        try:
            times = _schedule(text).timetable()
            return _timestamp(times.next_due(datetime.now(UTC)) if due is None else _datetime(float(due)))
        except (ValueError, TypeError, KeyError, ScheduleError) as error:
            raise self._unreadable(name, str(error)) from None

    def _unreadable(self, name: str, reason: str) -> ScheduleError:
        value = name.replace("'", "''")
        wheres = f"schedules WHERE name = '{value}'", f"apscheduler_jobs WHERE id = '{value}'"
        delete = "; ".join(f"DELETE FROM {where}" for where in wheres)
        return ScheduleError(
            f"{self.path}: {name!r} of an earlier version's store cannot be converted: {reason}; nothing was "
            "changed. Remove it with this command, and add it again: "
            f"{shlex.join(['sqlite3', str(self.path), delete])}"
        )

    @contextmanager
    def _transaction(self, kind: str = "DEFERRED") -> Iterator[sqlite3.Connection]:
        """Hold one transaction in its own connection: processes share only the file."""
        try:
            with closing(sqlite3.connect(self.path, timeout=60, isolation_level=None)) as database:
                database.row_factory = sqlite3.Row
                database.execute(f"BEGIN {kind}")
                with database:
                    yield database
        except sqlite3.IntegrityError:
            raise
        except sqlite3.DatabaseError as error:
            raise ScheduleError(f"{self.path}: expected a usable store of schedules, got: {error}") from None


def _version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _schedule(text: str) -> Schedule:
    values = json.loads(text)
    return Schedule(**values | {"options": tuple(values["options"])})


def _timestamp(due: datetime | None) -> float | None:
    return None if due is None else due.timestamp()


def _datetime(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
