"""Schedules and their runs in SQLite: what every process that knows the file sees."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from corpusmill.jobs.schedules.problems import ScheduleError
from corpusmill.jobs.state import state_folder

TABLES = """
CREATE TABLE IF NOT EXISTS schedules (name TEXT PRIMARY KEY, fields TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, schedule TEXT NOT NULL, run_date TEXT NOT NULL, state TEXT NOT NULL,
    started REAL NOT NULL, ended REAL, pid INTEGER, process_start TEXT, rows INTEGER, rejected INTEGER,
    stale_units INTEGER, seconds REAL, output TEXT, message TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS runs_of_schedule ON runs (schedule, id);
"""
RUNNING, DONE, FAILED, INTERRUPTED = "running", "done", "failed", "interrupted"


@dataclass(frozen=True, slots=True)
class Schedule:
    """A job file at set times; its relative paths start at `folder`, `options` go to `corpusmill run`."""

    name: str
    job: str
    folder: str
    cron: str
    timezone: str
    options: tuple[str, ...] = ()
    on_failure: str | None = None
    added: float = field(default_factory=lambda: round(time.time(), 3))


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a schedule; `rows` and `rejected` are what it added, None until it ended well."""

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
    """The schedules and runs of one SQLite file; the files that runs print to are beside it."""

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = Path(path).expanduser().absolute() if path else state_folder() / "schedules.sqlite"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as database:
            database.executescript(TABLES)

    @property
    def url(self) -> str:
        """Address of the file for SQLAlchemy."""
        return f"sqlite:///{self.path}"

    def printed(self, run: int, suffix: str) -> Path:
        """Path of what a run printed: `json` its result, `log` its messages."""
        folder = self.path.with_suffix("") / "runs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{run:06d}.{suffix}"

    def schedules(self) -> list[Schedule]:
        """Return all schedules by name."""
        with self._open() as database:
            rows = database.execute("SELECT fields FROM schedules ORDER BY name").fetchall()
        return [_schedule(row["fields"]) for row in rows]

    def schedule(self, name: str) -> Schedule:
        """Return a schedule; ScheduleError names those there are."""
        found = {schedule.name: schedule for schedule in self.schedules()}
        if name not in found:
            there = ", ".join(found) or "none yet"
            raise ScheduleError(f"{name}: no such schedule; there are: {there}").at("NAME")
        return found[name]

    def add(self, schedule: Schedule) -> None:
        """Keep a schedule; a name that is taken is a ScheduleError."""
        try:
            with self._open() as database:
                values = (schedule.name, json.dumps(asdict(schedule)))
                database.execute("INSERT INTO schedules VALUES (?, ?)", values)
        except sqlite3.IntegrityError:
            raise ScheduleError(
                f"{schedule.name}: there is a schedule of this name; remove it first, or give another --name"
            ).at("--name") from None

    def remove(self, name: str) -> None:
        """Forget a schedule; its history stays."""
        with self._open() as database:
            database.execute("DELETE FROM schedules WHERE name = ?", (name,))

    def begin(self, schedule: str, run_date: str) -> int:
        """Note that a run begins, and return its number."""
        with self._open() as database:
            cursor = database.execute(
                "INSERT INTO runs (schedule, run_date, state, started) VALUES (?, ?, ?, ?)",
                (schedule, run_date, RUNNING, round(time.time(), 3)),
            )
            return int(cursor.lastrowid or 0)

    def update(self, run: int, **values: Any) -> None:
        """Change what is known of a run."""
        names = ", ".join(f"{name} = ?" for name in values)
        with self._open() as database:
            database.execute(f"UPDATE runs SET {names} WHERE id = ?", (*values.values(), run))

    def runs(self, schedule: str | None = None, *, limit: int = -1) -> list[Run]:
        """Return runs, the newest first."""
        where, values = ("WHERE schedule = ?", (schedule,)) if schedule else ("", ())
        names = ", ".join(one.name for one in fields(Run))
        query = f"SELECT {names} FROM runs {where} ORDER BY id DESC LIMIT ?"
        with self._open() as database:
            return [Run(**dict(row)) for row in database.execute(query, (*values, limit)).fetchall()]

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """One transaction in a connection of its own: threads and processes share the file, nothing else."""
        with closing(sqlite3.connect(self.path, timeout=60)) as database:
            database.row_factory = sqlite3.Row
            with database:
                yield database


def _schedule(text: str) -> Schedule:
    values = json.loads(text)
    return Schedule(**values | {"options": tuple(values["options"])})
