"""Pools of workers on a simulated clock: a trace of units, workers, and a scaler that decides.

Event by event, so that an hour of a thousand workers takes seconds. What a scaler may know is what the
engine would tell it.
"""

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from corpusmill.pipeline.autoscaling.meters import WorkMeter

IN_FLIGHT = 2


@dataclass(frozen=True)
class Model:
    """A simulated model: a worker's tokens per second, its start, and its pool's bounds."""

    rate: float
    startup: float
    max_workers: int
    min_workers: int = 1
    noise: float = 0.1


@dataclass(frozen=True)
class Trace:
    """When units are ready (seconds, in order) and their tokens; `room` limits the units open at once.

    Each of `models` has a queue and a pool of its own; `capacity` is the room of all pools, in workers. A
    trace without a drain time is played on a machine of its own: any number of workers take turns at
    `capacity` CPUs, those starting too.
    """

    name: str
    units: tuple[tuple[float, int], ...]
    models: tuple[Model, ...]
    capacity: int
    room: int | None = None
    drain_seconds: float | None = 60.0


@dataclass(eq=False)
class Queue:
    """Units that wait, and their tokens."""

    units: deque[int] = field(default_factory=deque)
    tokens: int = 0

    def __len__(self) -> int:
        return len(self.units)


@dataclass(eq=False)
class Worker:
    """A simulated worker."""

    since: float
    ready: bool = False
    draining: bool = False
    gone: bool = False
    held: deque[int] = field(default_factory=deque)
    work: tuple[int, float] = (0, 0.0)
    began: float = 0.0


@dataclass(eq=False)
class Pool:
    """A simulated pool; `changes` holds (time, workers) whenever their number changed."""

    model: Model
    queue: Queue = field(default_factory=Queue)
    workers: dict[Worker, None] = field(default_factory=dict)
    in_flight: int = 0
    in_flight_units: int = 0
    ready: int = 0
    draining: int = 0
    worker_seconds: float = 0.0
    done_units: int = 0
    done: list[tuple[int, float]] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    free: list[deque[Worker]] = field(default_factory=lambda: [deque(), deque()])
    changes: list[tuple[float, int]] = field(default_factory=list)
    meter: WorkMeter = field(default_factory=WorkMeter)

    @property
    def rate(self) -> float | None:
        """What a worker is known to do."""
        return self.meter.rate

    @property
    def size(self) -> int:
        """Workers that stay: ready or starting."""
        return len(self.workers) - self.draining


class Scaler(Protocol):
    """Decides now and then."""

    every: float

    def step(self, world: "World", now: float) -> None:
        """Look at the pools, and call `start` and `stop`."""


@dataclass(frozen=True)
class Outcome:
    """When all was done, worker-seconds from being asked for to being gone, most at once."""

    seconds: float
    worker_seconds: float
    peak: int
    changes: tuple[tuple[tuple[float, int], ...], ...]


class World:
    """The simulation of one trace."""

    def __init__(self, trace: Trace, seed: int = 0) -> None:
        self.trace = trace
        self.pools = [Pool(model) for model in trace.models]
        self.delivered = 0
        self.delivered_tokens = 0
        self.arrived: list[tuple[float, int]] = []
        self.total_tokens = sum(tokens for _, tokens in trace.units)
        self.blocked_since: float | None = None
        self.blocked_seconds = 0.0
        self.open: dict[int, int] = {}
        self._delay = 0.0
        self._events: list[tuple[float, int, str, int, Worker | None]] = []
        self._count = itertools.count()
        self._random = random.Random(seed)

    @property
    def finished(self) -> bool:
        """Whether the source has given everything."""
        return self.delivered == len(self.trace.units)

    def used(self) -> int:
        """Workers of all pools, those draining included."""
        return sum(len(pool.workers) for pool in self.pools)

    def fastest_possible(self, index: int, now: float) -> float | None:
        """What a worker does not exceed, by how long its unit has taken so far."""
        held = [worker for worker in self.pools[index].workers if worker.held and now > worker.began]
        units = self.trace.units
        return max((units[worker.held[0]][1] / (now - worker.began) for worker in held), default=None)

    def start(self, index: int, count: int, now: float) -> None:
        """Start workers, as many as there is capacity for."""
        pool = self.pools[index]
        for _ in range(min(count, self._room())):
            worker = Worker(now)
            pool.workers[worker] = None
            self._take(now, pool.model.startup * self._random.uniform(0.9, 1.1), "ready", index, worker)
        pool.changes.append((now, len(pool.workers)))

    def stop(self, index: int, count: int, now: float, *, idle_only: bool = False) -> None:
        """Stop workers: those starting first, then idle ones; others once they have finished."""
        pool = self.pools[index]
        staying = [worker for worker in pool.workers if not worker.draining]
        staying.sort(key=lambda worker: (worker.ready, len(worker.held)))
        for worker in staying[:count]:
            if worker.held and idle_only:
                break
            if worker.held:
                worker.draining = True
                pool.draining += 1
            else:
                self._remove(index, worker, now)

    def run(self, scaler: Scaler, limit: float = 1e6) -> Outcome:
        """Play the trace to its end."""
        self._at(self.trace.units[0][0], "source", 0, None)
        self._at(0.0, "decide", 0, None)
        now, peak = 0.0, 0
        while not self._over():
            now, kind, index, worker = self._next()
            assert now < limit, f"{self.trace.name}: not done after {limit} seconds"
            if kind == "decide":
                scaler.step(self, now)
                peak = max(peak, self.used())
                self._at(now + scaler.every, "decide", 0, None)
            elif kind == "source":
                self._deliver(now)
            elif worker is not None and not worker.gone:
                self._ready(index, worker, now) if kind == "ready" else self._done(index, worker, now)
            for i, pool in enumerate(self.pools):
                self._dispatch(i, pool, now)
        spent = sum(
            pool.worker_seconds + sum(now - worker.since for worker in pool.workers) for pool in self.pools
        )
        changes = tuple(tuple(pool.changes) for pool in self.pools)
        return Outcome(now, spent, peak, changes)

    def _room(self) -> int:
        """Workers that may be started."""
        return self.trace.capacity - self.used()

    def _take(self, now: float, seconds: float, kind: str, index: int, worker: Worker) -> None:
        """Have a worker do something for so many seconds, and say when it is done."""
        self._at(now + seconds, kind, index, worker)

    def _next(self) -> tuple[float, str, int, Worker | None]:
        now, _, kind, index, worker = heapq.heappop(self._events)
        return now, kind, index, worker

    def _over(self) -> bool:
        return self.finished and not self.open

    def _deliver(self, now: float) -> None:
        """Let units in while they are due and there is room."""
        units, room = self.trace.units, self.trace.room
        while self.delivered < len(units) and units[self.delivered][0] + self._delay <= now + 1e-9:
            if room is not None and len(self.open) >= room:
                self.blocked_since = now if self.blocked_since is None else self.blocked_since
                return
            if self.blocked_since is not None:
                self.blocked_seconds += now - self.blocked_since
                self._delay += now - self.blocked_since
                self.blocked_since = None
            tokens = units[self.delivered][1]
            self.open[self.delivered] = len(self.pools)
            self.arrived.append((now, tokens))
            for pool in self.pools:
                pool.queue.units.append(self.delivered)
                pool.queue.tokens += tokens
            self.delivered += 1
            self.delivered_tokens += tokens
        if self.delivered < len(units):
            self._at(units[self.delivered][0] + self._delay, "source", 0, None)

    def _dispatch(self, index: int, pool: Pool, now: float) -> None:
        while pool.queue:
            worker = self._free(pool)
            if worker is None:
                return
            pool.free[len(worker.held)].popleft()
            self._hand(index, worker, pool.queue.units.popleft(), now)

    def _free(self, pool: Pool) -> Worker | None:
        """The worker that is next, as the engine has it: those that hold fewest first."""
        for holding, free in enumerate(pool.free):
            while free and (free[0].gone or free[0].draining or len(free[0].held) != holding):
                free.popleft()
            if free:
                return free[0]
        return None

    def _hand(self, index: int, worker: Worker, unit: int, now: float) -> None:
        pool = self.pools[index]
        tokens = self.trace.units[unit][1]
        pool.queue.tokens -= tokens
        pool.in_flight += tokens
        pool.in_flight_units += 1
        worker.held.append(unit)
        if len(worker.held) == 1:
            self._work(index, worker, now)
        if len(worker.held) < IN_FLIGHT:
            pool.free[len(worker.held)].append(worker)

    def _work(self, index: int, worker: Worker, now: float) -> None:
        model = self.pools[index].model
        tokens = self.trace.units[worker.held[0]][1]
        seconds = tokens / model.rate * self._random.uniform(1 - model.noise, 1 + model.noise)
        worker.work = (tokens, seconds)
        worker.began = now
        self._take(now, seconds, "done", index, worker)

    def _ready(self, index: int, worker: Worker, now: float) -> None:
        pool = self.pools[index]
        worker.ready = True
        pool.ready += 1
        pool.starts.append(now - worker.since)
        pool.free[0].append(worker)

    def _done(self, index: int, worker: Worker, now: float) -> None:
        pool = self.pools[index]
        unit = worker.held.popleft()
        worker.work = (worker.work[0], now - worker.began)
        pool.done.append(worker.work)
        pool.meter.note(*worker.work)
        pool.in_flight -= self.trace.units[unit][1]
        pool.in_flight_units -= 1
        pool.done_units += 1
        self.open[unit] -= 1
        if not self.open[unit]:
            del self.open[unit]
            if self.blocked_since is not None:
                self._at(now, "source", 0, None)
        if worker.held:
            self._work(index, worker, now)
        elif worker.draining:
            pool.draining -= 1
            self._remove(index, worker, now)
            return
        if not worker.draining:
            pool.free[len(worker.held)].append(worker)

    def _remove(self, index: int, worker: Worker, now: float) -> None:
        pool = self.pools[index]
        worker.gone = True
        del pool.workers[worker]
        pool.ready -= worker.ready
        pool.worker_seconds += now - worker.since
        pool.changes.append((now, len(pool.workers)))

    def _at(self, time: float, kind: str, index: int, worker: Worker | None) -> None:
        heapq.heappush(self._events, (time, next(self._count), kind, index, worker))


class OwnMachine(World):
    """The simulation of a trace on a machine of its own: who works or starts shares the CPUs evenly."""

    def __init__(self, trace: Trace, seed: int = 0) -> None:
        super().__init__(trace, seed)
        self._left: dict[Worker, float] = {}
        self._doing: dict[Worker, tuple[str, int]] = {}
        self._now = 0.0

    def _room(self) -> int:
        return 10**9

    def _take(self, now: float, seconds: float, kind: str, index: int, worker: Worker) -> None:  # noqa: ARG002
        self._left[worker] = seconds
        self._doing[worker] = (kind, index)

    def _remove(self, index: int, worker: Worker, now: float) -> None:
        self._left.pop(worker, None)
        super()._remove(index, worker, now)

    def _next(self) -> tuple[float, str, int, Worker | None]:
        share = min(1.0, self.trace.capacity / len(self._left)) if self._left else 1.0
        first = min(self._left, key=lambda worker: self._left[worker], default=None)
        until = math.inf if first is None else self._now + self._left[first] / share
        if first is None or (self._events and self._events[0][0] <= until):
            now, kind, index, worker = super()._next()
        else:
            now, worker = until, first
            kind, index = self._doing[first]
        passed, self._now = (now - self._now) * share, now
        self._left = {each: left - passed for each, left in self._left.items() if each is not worker}
        return now, kind, index, worker


def directions(changes: Iterable[tuple[float, int]]) -> list[tuple[float, int]]:
    """When a pool's size turned from growing to shrinking or back: (time, new direction)."""
    turns: list[tuple[float, int]] = []
    last, way = None, 0
    for time, size in changes:
        if last is not None and size != last:
            now = 1 if size > last else -1
            if way and now != way:
                turns.append((time, now))
            way = now
        last = size
    return turns


def at_rate(rates: Sequence[float], tokens: int) -> tuple[tuple[float, int], ...]:
    """Units of so many tokens that come at so many tokens per second in each second."""
    units, carried = [], 0.0
    for second, rate in enumerate(rates):
        carried += rate / tokens
        whole = int(carried)
        units += [(second + (i + 1) / (whole + 1), tokens) for i in range(whole)]
        carried -= whole
    return tuple(units)
