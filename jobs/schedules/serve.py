"""The process that starts due runs: one per store, in the foreground, with a single thread."""

import signal
import sys
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Protocol

from corpusmill.jobs.driver.signals import STOP_SIGNALS, raise_pending
from corpusmill.jobs.errors import ScheduleError
from corpusmill.jobs.schedules.execution import RUN_GRACE, Execution, OrphanedRun
from corpusmill.jobs.schedules.store import INTERRUPTED, RUNNING, Run, Scheduled, Store
from corpusmill.jobs.schedules.timetable import MAX_CLOCK_CHANGE

POLL_INTERVAL = 1.0
"""The longest pause in seconds: then changes by other processes or of the clock are seen."""
POLL_INTERVAL_RUNNING = 0.2
"""The longest pause while a run is active: then its end is seen."""


class Clock(Protocol):
    """The time of day, and a way to wait."""

    def now(self) -> datetime:
        """Return the time of day in UTC."""

    def wait(self, seconds: float) -> None:
        """Wait; the exception of a signal ends the pause at once."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the time of day in UTC."""
        return datetime.now(UTC)

    def wait(self, seconds: float) -> None:
        """Wait; the exception of a signal ends the pause at once."""
        time.sleep(seconds)


def serve(store: Store, *, workers: int = 4, clock: Clock | None = None) -> None:
    """Start runs when they are due, until a signal comes; then end the active runs.

    Runs that an earlier process left running are waited for. An interrupted run is started again.
    """
    server = Server(store, workers=workers, clock=clock or SystemClock())
    with store.serving_lock():
        try:
            with _signals_deferred():
                server.resume()
            print(
                f"serving {len(store.scheduled())} schedule(s) of {store.path}", file=sys.stderr, flush=True
            )
            while True:
                with _signals_deferred():
                    pause = server.step()
                raise_pending()
                server.clock.wait(pause)
        finally:
            server.stop()


class Server:
    """The active runs of a serving process; the store has everything else."""

    def __init__(self, store: Store, *, workers: int, clock: Clock) -> None:
        self.clock = clock
        self._store = store
        self._workers = workers
        self._active: list[Execution | OrphanedRun] = []
        self._last_step: datetime | None = None
        """The time of the last step. A time before it means that the clock was set back."""

    def resume(self) -> None:
        """Continue the work of an earlier process: interrupted runs are due now."""
        for one in self._store.scheduled():
            _check(one, self._store)
            last = self._store.runs(one.schedule.name, limit=1)
            if last and last[0].state in (RUNNING, INTERRUPTED):
                self._store.set_due(one.schedule.name, self.clock.now())
        self._active += [OrphanedRun(self._store, run) for run in self._store.unfinished_runs()]

    def step(self) -> float:
        """Record ended runs, start due ones, and return the seconds until the next step."""
        self._active = [one for one in self._active if not self._check_ended(one)]
        now = self.clock.now()
        scheduled = self._store.scheduled()
        if self._last_step is None or now < self._last_step:
            scheduled = [self._reset_if_clock_was_set_back(one, now) for one in scheduled]
        self._last_step = now
        busy = {one.name for one in self._active}
        for one in startable(scheduled, now, busy=busy, free=self._workers - len(self._active)):
            self._start(one, now)
        return pause(scheduled, now, running=bool(self._active))

    def stop(self) -> None:
        """Ask all runs to end, and wait for them: RUN_GRACE for all together."""
        deadline = time.monotonic() + RUN_GRACE
        for one in self._active:
            one.terminate()
        for one in self._active:
            one.wait_for_end(max(0.0, deadline - time.monotonic()))
            self._print_run(self._store.run(one.run))

    def _check_ended(self, one: Execution | OrphanedRun) -> bool:
        has_ended = one.has_ended()
        if has_ended:
            self._print_run(self._store.run(one.run))
        return has_ended

    def _reset_if_clock_was_set_back(self, one: Scheduled, now: datetime) -> Scheduled:
        """Compute a due time again if it came from a clock that was more than MAX_CLOCK_CHANGE ahead."""
        if one.due is None or one.due <= now + MAX_CLOCK_CHANGE:
            return one
        times = one.schedule.timetable()
        latest = times.next_due(now + MAX_CLOCK_CHANGE)
        if latest is None or one.due <= latest:
            return one
        due = times.next_due(now)
        self._store.set_due(one.schedule.name, due)
        print(f"{one.schedule.name}: the clock was set back; due {due}", file=sys.stderr, flush=True)
        return Scheduled(one.schedule, due)

    def _start(self, one: Scheduled, now: datetime) -> None:
        times = one.schedule.timetable()
        date = (times.latest_due(now) or now).astimezone(times.zone).date()
        number = self._store.record_start(one, run_date=date.isoformat(), then=times.next_due(now))
        if number is not None:
            run = self._store.run(number)
            self._print_run(run)
            self._active.append(Execution(self._store, one.schedule, run))

    def _print_run(self, run: Run) -> None:
        rows = "" if run.rows is None else f", {run.rows:,} rows, {run.rejected:,} rejected"
        reason = f": {run.message}" if run.message else ""
        print(
            f"{run.schedule} #{run.id} {run.run_date}: {run.state}{rows}{reason}", file=sys.stderr, flush=True
        )


def startable(
    scheduled: Iterable[Scheduled], now: datetime, *, busy: Collection[str], free: int
) -> list[Scheduled]:
    """Return the schedules whose runs start now: due and without an active run, the longest due first.

    A schedule with an active run stays due. All times that pass during that run become one run after it.
    """
    due = [
        (one.due, one.schedule.name, one)
        for one in scheduled
        if one.due is not None and one.due <= now and one.schedule.name not in busy
    ]
    return [one for _, _, one in sorted(due, key=lambda entry: entry[:2])[: max(free, 0)]]


def pause(scheduled: Iterable[Scheduled], now: datetime, *, running: bool) -> float:
    """Return the seconds to wait: until the next due time, at most the poll interval.

    The next step reads the clock again, so a change of the clock meanwhile does not matter.
    """
    until = [(one.due - now).total_seconds() for one in scheduled if one.due is not None and one.due > now]
    return min([POLL_INTERVAL_RUNNING if running else POLL_INTERVAL, *until])


def _check(one: Scheduled, store: Store) -> None:
    """Refuse to serve a schedule that is not valid now, for example with a zone unknown to this machine."""
    try:
        one.schedule.timetable()
    except ScheduleError as error:
        raise ScheduleError(
            f"{store.path}: schedule {one.schedule.name}: {error}; remove it, and add it again"
        ) from None


@contextmanager
def _signals_deferred() -> Iterator[None]:
    """Defer the signals that stop the process until the end of the block.

    Otherwise an exception could come between the start of a run's process and its record in the store.
    """
    arrived: list[int] = []
    stops = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    previous = {number: signal.signal(number, lambda number, _: arrived.append(number)) for number in stops}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    for number in arrived[:1]:
        signal.raise_signal(number)
