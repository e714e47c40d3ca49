"""What happens when a schedule is due: one run at a time, and one more for times that passed meanwhile."""

import threading
from datetime import datetime

from corpusmill.jobs.schedules.execution import execute, settle
from corpusmill.jobs.schedules.store import Store
from corpusmill.jobs.schedules.timing import latest_due, trigger

STOPPING = threading.Event()
"""Set when the serving process ends: nothing new is started, and what runs is told to end."""
_OWED: set[str] = set()


def owe(name: str) -> None:
    """Note that a schedule was due while a run of it was under way."""
    _OWED.add(name)


def fire(path: str, name: str) -> None:
    """Run a schedule now; APScheduler calls this in a thread, never twice at once for one schedule."""
    store = Store(path)
    settle(store, name, STOPPING)
    while not STOPPING.is_set():
        _OWED.discard(name)
        schedule = store.schedule(name)
        found = trigger(schedule.cron, schedule.timezone)
        due = latest_due(found, datetime.now(found.timezone))
        execute(store, schedule, due.date(), STOPPING)
        if name not in _OWED:
            return
