"""A run of a schedule: a process of its own, and the record of its end."""

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from corpusmill.jobs.driver.owner import process_start
from corpusmill.jobs.driver.signals import GRACE
from corpusmill.jobs.schedules.store import DONE, FAILED, INTERRUPTED, Run, Schedule, Store

PROGRAM = (sys.executable, "-P", "-c", "from corpusmill.jobs.cli.app import main; main()")
RUN_GRACE = GRACE - 2.0
"""Seconds that all runs together have to end when the serving process ends.

The serving process itself ends after GRACE. The rest of GRACE is for writing the runs' ends into the store.
"""


class Execution:
    """One run of a schedule: its process, and after a failure the command for failures."""

    def __init__(self, store: Store, schedule: Schedule, run: Run) -> None:
        self.name = schedule.name
        self.run = run.id
        self._store = store
        self._schedule = schedule
        self._running = self._start(run)
        self._failure_command: subprocess.Popen[bytes] | None = None

    def has_ended(self) -> bool:
        """Record the end of a process; return whether both processes of the run have ended."""
        if self._failure_command is not None:
            return self._failure_command_ended(self._failure_command)
        code = 1 if self._running is None else self._running.poll()
        if code is None:
            return False
        state = record_end(self._store, self.run, code, stopped=False)
        if state == FAILED and self._schedule.on_failure:
            self._failure_command = self._start_failure_command(self._schedule.on_failure)
        return self._failure_command is None

    def terminate(self) -> None:
        """Tell the run to end; it commits complete units first."""
        if self._running is not None and self._failure_command is None:
            self._running.terminate()

    def wait_for_end(self, seconds: float) -> None:
        """Wait at most so long for the run's end, then kill its process; committed units are safe.

        The command for failures is not killed. It may go on after the serving process has ended.
        """
        if self._failure_command is not None:
            with suppress(subprocess.TimeoutExpired):
                self._failure_command.wait(seconds)
            self._failure_command_ended(self._failure_command)
            return
        if self._running is not None:
            try:
                self._running.wait(seconds)
            except subprocess.TimeoutExpired:
                self._running.kill()
        record_end(self._store, self.run, self._running.wait() if self._running else 1, stopped=True)

    def _start(self, run: Run) -> subprocess.Popen[bytes] | None:
        """Start the process of the run; None if the system refuses, with the reason in the run's log."""
        schedule = self._schedule
        command = [*PROGRAM, "run", schedule.job, "--json", "--incremental", "--run-date", run.run_date]
        result, log = self._store.output_file(run.id, "json"), self._store.output_file(run.id, "log")
        with result.open("wb") as out, log.open("wb") as err:
            try:
                process = subprocess.Popen(
                    [*command, *schedule.options],
                    cwd=schedule.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    start_new_session=True,  # the serving process gets Ctrl-C and ends its runs itself
                )
            except OSError as error:
                err.write(f"error: cannot be started: {error}\n".encode())
                return None
        self._store.update(run.id, pid=process.pid, process_start=process_start(process.pid))
        return process

    def _start_failure_command(self, command: str) -> subprocess.Popen[bytes] | None:
        """Start the schedule's command for failures."""
        run = self._store.run(self.run)
        facts = {
            "CORPUSMILL_SCHEDULE": run.schedule,
            "CORPUSMILL_RUN": str(run.id),
            "CORPUSMILL_RUN_DATE": run.run_date,
            "CORPUSMILL_REASON": run.message,
            "CORPUSMILL_LOG": str(self._store.output_file(run.id, "log")),
        }
        try:
            return subprocess.Popen(
                command,
                shell=True,
                cwd=self._schedule.folder,
                env={**os.environ, **facts},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            self._store.update(run.id, message=f"{run.message} (and --on-failure cannot be started: {error})")
            return None

    def _failure_command_ended(self, process: subprocess.Popen[bytes]) -> bool:
        """Return whether the command for failures has ended; record its own failure in the run's message."""
        code = process.poll()
        if code:
            message = self._store.run(self.run).message
            self._store.update(self.run, message=f"{message} (and --on-failure ended with {code})")
        return code is not None


class OrphanedRun:
    """A run that an earlier serving process left running: it is waited for, and never ended."""

    def __init__(self, store: Store, run: Run) -> None:
        self.name = run.schedule
        self.run = run.id
        self._store = store
        self._left = run

    def has_ended(self) -> bool:
        """Return whether the process has ended, and record its end."""
        if self._left.pid is not None and process_start(self._left.pid) == self._left.process_start:
            return False
        record_end(self._store, self.run, None, stopped=True)
        return True

    def terminate(self) -> None:
        """Do nothing: the next serving process waits for the run again."""

    def wait_for_end(self, seconds: float) -> None:
        """Return at once: the run goes on."""


def record_end(store: Store, run: int, code: int | None, *, stopped: bool) -> str:
    """Record a run's end by its output: a printed result means that the run was done."""
    result = _result(store.output_file(run, "json"))
    values: dict[str, Any] = {"ended": round(time.time(), 3)}
    if result is not None and code in (0, None):
        values |= {
            "state": DONE,
            "rows": result["new_rows"],
            "rejected": result["new_rejected"],
            "stale_units": result["stale_units"],
            "seconds": result["seconds"],
            "output": result["output"],
        }
    else:
        state = INTERRUPTED if stopped else FAILED
        values |= {"state": state, "message": _reason(store.output_file(run, "log"), code)}
    store.update(run, **values)
    return str(values["state"])


def _result(path: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def _reason(log: Path, code: int | None) -> str:
    """Return the last line of a run's log, which has the reason of its end; else its exit code."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    lines_with_text = [line.strip() for line in lines if line.strip()]
    if lines_with_text:
        return lines_with_text[-1]
    return "its process was ended" if code is None or code < 0 else f"exit code {code}"
