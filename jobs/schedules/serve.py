"""The process that starts runs when they are due: one for a store, in the foreground."""

import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from corpusmill.jobs.schedules import firing
from corpusmill.jobs.schedules.extras import extra
from corpusmill.jobs.schedules.problems import ScheduleError
from corpusmill.jobs.schedules.store import INTERRUPTED, RUNNING, Run, Store
from corpusmill.jobs.schedules.timetable import Timetable

WAKE = 2.0
"""Seconds until a schedule that another process added or removed is seen."""


def serve(store: Store, *, workers: int = 4) -> None:
    """Start runs when they are due, until interrupted; runs under way are then told to end.

    What an earlier process left under way is waited for and run again if it did not end well.
    """
    with _alone(store):
        firing.STOPPING.clear()
        timetable = Timetable(store, workers=workers)
        events = extra("apscheduler.events")
        timetable.scheduler.add_listener(
            lambda event: firing.owe(event.job_id), events.EVENT_JOB_MAX_INSTANCES
        )
        timetable.scheduler.start(paused=True)
        for schedule in store.schedules():
            if any(run.state in (RUNNING, INTERRUPTED) for run in store.runs(schedule.name, limit=1)):
                timetable.due_now(schedule.name)
        timetable.scheduler.resume()
        print(f"serving {len(store.schedules())} schedule(s) of {store.path}", file=sys.stderr, flush=True)
        try:
            _follow(store, timetable)
        finally:
            firing.STOPPING.set()
            timetable.scheduler.shutdown(wait=True)


def _follow(store: Store, timetable: Timetable) -> None:
    """Look for changes of the store, and say what begins and ends."""
    seen = {run.id: run.state for run in store.runs()}
    while True:
        timetable.scheduler.wakeup()
        for run in reversed(store.runs(limit=100)):
            if seen.get(run.id) != run.state:
                seen[run.id] = run.state
                print(_line(run), file=sys.stderr, flush=True)
        time.sleep(WAKE)


def _line(run: Run) -> str:
    rows = "" if run.rows is None else f", {run.rows:,} rows, {run.rejected:,} rejected"
    return (
        f"{run.schedule} #{run.id} {run.run_date}: {run.state}{rows}{': ' * bool(run.message)}{run.message}"
    )


@contextmanager
def _alone(store: Store) -> Iterator[None]:
    """Hold the store's lock, which the system takes back from a process that ends in any way."""
    with store.path.with_suffix(".lock").open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise ScheduleError(
                f"{store.path}: is served already by process {lock.read().strip() or 'unknown'}"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
