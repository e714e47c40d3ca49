"""A run of a schedule: a process of its own, whose end is noted whoever sees it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import date
from pathlib import Path
from typing import Any

from corpusmill.jobs.processes import process_start
from corpusmill.jobs.schedules.store import DONE, FAILED, INTERRUPTED, RUNNING, Run, Schedule, Store

PROGRAM = (sys.executable, "-P", "-c", "from corpusmill.jobs.cli import main; main()")
POLL = 0.2
LAST_WORDS = 60.0
"""Seconds that a run has to commit what is complete when the serving process ends."""


def execute(store: Store, schedule: Schedule, run_date: date, stopping: threading.Event) -> None:
    """Run a schedule and note how it went; a failure is told to the schedule's own command."""
    run = store.begin(schedule.name, run_date.isoformat())
    command = [*PROGRAM, "run", schedule.job, "--json", "--incremental", "--run-date", run_date.isoformat()]
    result, log = store.printed(run, "json"), store.printed(run, "log")
    with result.open("wb") as out, log.open("wb") as err:
        try:
            process = subprocess.Popen(
                [*command, *schedule.options],
                cwd=schedule.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,  # Ctrl-C is for the serving process, which then ends its runs itself
            )
        except OSError as error:
            err.write(f"error: cannot be started: {error}\n".encode())
            code = 1
        else:
            store.update(run, pid=process.pid, process_start=process_start(process.pid))
            code = _wait(process, stopping)
    state = conclude(store, run, code, stopped=stopping.is_set())
    if state == FAILED and schedule.on_failure:
        _tell(store, schedule, run, log)


def settle(store: Store, name: str, stopping: threading.Event) -> None:
    """Wait for a run that an earlier serving process left under way, and note how it went."""
    for run in store.runs(name):
        if run.state == RUNNING:
            while _alive(run) and not stopping.wait(POLL):
                continue
            if not _alive(run):
                conclude(store, run.id, None, stopped=True)


def conclude(store: Store, run: int, code: int | None, *, stopped: bool) -> str:
    """Note a run's end by what it printed: a result means that it was done, whatever else happened."""
    found = _result(store.printed(run, "json"))
    values: dict[str, Any] = {"ended": round(time.time(), 3)}
    if found is not None and code in (0, None):
        values |= {
            "state": DONE,
            "rows": found["new_rows"],
            "rejected": found["new_rejected"],
            "stale_units": found["stale_units"],
            "seconds": found["seconds"],
            "output": found["output"],
        }
    else:
        state = INTERRUPTED if stopped else FAILED
        values |= {"state": state, "message": _reason(store.printed(run, "log"), code)}
    store.update(run, **values)
    return str(values["state"])


def _wait(process: subprocess.Popen[bytes], stopping: threading.Event) -> int:
    while process.poll() is None and not stopping.wait(POLL):
        continue
    if process.poll() is None:
        os.kill(process.pid, signal.SIGTERM)
        try:
            process.wait(LAST_WORDS)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()


def _alive(run: Run) -> bool:
    return run.pid is not None and process_start(run.pid) == run.process_start


def _result(path: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def _reason(log: Path, code: int | None) -> str:
    """Return the last line that a run wrote, which says why it ended; else how it ended."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    said = [line.strip() for line in lines if line.strip()]
    if said:
        return said[-1]
    return "its process was ended" if code is None or code < 0 else f"exit code {code}"


def _tell(store: Store, schedule: Schedule, run: int, log: Path) -> None:
    """Call the schedule's command; that it fails in turn is noted beside the reason."""
    (last, *_) = store.runs(schedule.name, limit=1)
    facts = {
        "CORPUSMILL_SCHEDULE": schedule.name,
        "CORPUSMILL_RUN": str(run),
        "CORPUSMILL_RUN_DATE": last.run_date,
        "CORPUSMILL_REASON": last.message,
        "CORPUSMILL_LOG": str(log),
    }
    done = subprocess.run(
        schedule.on_failure or "",
        shell=True,
        cwd=schedule.folder,
        env={**os.environ, **facts},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        store.update(run, message=f"{last.message} (and --on-failure ended with {done.returncode})")
