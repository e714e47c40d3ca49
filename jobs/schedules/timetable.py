"""APScheduler on the store: when each schedule is due next, kept across restarts."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from corpusmill.jobs.schedules.extras import extra
from corpusmill.jobs.schedules.store import Schedule, Store
from corpusmill.jobs.schedules.timing import trigger

FIRE = "corpusmill.jobs.schedules.firing:fire"


class Timetable:
    """The due times of all schedules. Times that were missed count once, however many and however late."""

    def __init__(self, store: Store, *, workers: int = 4) -> None:
        logging.getLogger("apscheduler").setLevel(logging.CRITICAL)  # what it says is in the history
        jobs = extra("apscheduler.jobstores.sqlalchemy").SQLAlchemyJobStore(url=store.url)
        pool = extra("apscheduler.executors.pool").ThreadPoolExecutor(workers)
        self.scheduler = _steady()(
            jobstores={"default": jobs},
            executors={"default": pool},
            job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1},
        )
        self._store = store

    def add(self, schedule: Schedule) -> None:
        """Let a schedule be due from now on."""
        self.scheduler.add_job(
            FIRE,
            trigger(schedule.cron, schedule.timezone),
            args=(str(self._store.path), schedule.name),
            id=schedule.name,
        )

    def remove(self, name: str) -> None:
        """Take a schedule off."""
        if self.scheduler.get_job(name) is not None:
            self.scheduler.remove_job(name)

    def due_now(self, name: str) -> None:
        """Let a schedule be due at once, and then as its times say."""
        job = self.scheduler.get_job(name)
        if job is not None:
            job.modify(next_run_time=datetime.now(job.trigger.timezone))

    def due(self) -> dict[str, datetime]:
        """Return when each schedule is due next."""
        return {job.id: job.next_run_time for job in self.scheduler.get_jobs()}


def _steady() -> Any:
    """Return APScheduler's background scheduler, made to fire nothing once it ends.

    Its own loop looks for due jobs once more after `shutdown`: their next times move on, and as nothing can
    be started any more those runs would be lost.
    """
    running = extra("apscheduler.schedulers.base").STATE_RUNNING

    class Steady(extra("apscheduler.schedulers.background").BackgroundScheduler):  # type: ignore[misc]
        def _process_jobs(self) -> Any:
            return super()._process_jobs() if self.state == running else None

    return Steady


@contextmanager
def opened(store: Store) -> Iterator[Timetable]:
    """A timetable to read and change, which starts nothing."""
    timetable = Timetable(store)
    timetable.scheduler.start(paused=True)
    try:
        yield timetable
    finally:
        timetable.scheduler.shutdown(wait=False)


def add(store: Store, schedule: Schedule) -> datetime:
    """Keep a schedule and return when it is due first; nothing is kept if any part of it is wrong."""
    trigger(schedule.cron, schedule.timezone)
    store.add(schedule)
    with opened(store) as timetable:
        timetable.add(schedule)
        return timetable.due()[schedule.name]


def remove(store: Store, name: str) -> None:
    """Forget a schedule; a run that is under way ends as it would."""
    store.schedule(name)
    with opened(store) as timetable:
        timetable.remove(name)
    store.remove(name)


def due(store: Store) -> dict[str, Any]:
    """Return when each schedule is due next."""
    with opened(store) as timetable:
        return timetable.due()
