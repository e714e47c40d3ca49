"""One model's queue, and the pool of Ray actors that take work items from it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError

from corpusmill.pipeline.autoscaling.meters import FlowMeter, StartMeter, WorkMeter
from corpusmill.pipeline.encode.encoded import EncodeStats
from corpusmill.pipeline.engine.faults import (
    Death,
    HangTimeout,
    RestartLimits,
    SlowestWorker,
    death_of,
    retry,
    try_alone,
)
from corpusmill.pipeline.engine.feeder import Intake
from corpusmill.pipeline.engine.messages import Outcome, PoolState, WorkerLost, WorkerNote
from corpusmill.pipeline.engine.ray_calls import EncodeCall, RayCalls, StartCall
from corpusmill.pipeline.engine.stage_times import EncodeClock
from corpusmill.pipeline.engine.work import Queue, WorkItem
from corpusmill.pipeline.engine.worker_set import Worker, WorkerSet
from corpusmill.pipeline.engine.workers import Ready
from corpusmill.pipeline.spec import ModelSpec

RATE_SECONDS = 10.0
"""Seconds over which the pool's current rate is averaged."""
ASSUMED_FACTOR = {"cpu": 50.0, "cuda": 5000.0}
"""By device: a worker's rate before the first measurement, as a multiple of its `least_rate`."""


@dataclass(frozen=True, slots=True)
class PoolLinks:
    """The connections of a pool: how to start an actor, the calls under way, outcomes, the hang timeout."""

    start: Callable[[ModelSpec], Any]
    calls: RayCalls
    report: Callable[[Outcome], None]
    timeout: HangTimeout


class Pool:
    """The workers and the queue of the job's `index`-th model.

    `resize` sets the number of workers. Missing workers are started, dead ones are replaced, and the work
    items of a dead one go back to the front of the queue. Surplus workers get no more work items and end once
    they have finished those that they hold.
    """

    def __init__(self, index: int, spec: ModelSpec, links: PoolLinks, now: float) -> None:
        self.spec = spec
        self.queue = Queue(index, spec.tokenizer.key)
        self.workers = WorkerSet(spec.pool.at_once)
        self.clock = EncodeClock(spec.title)
        self.work, self.startup = WorkMeter(), StartMeter()
        self.target = 0
        self._index, self._links = index, links
        self._now = now
        self._recent = FlowMeter(RATE_SECONDS, now)
        self._done_tokens = 0
        self._slowest = SlowestWorker(links.timeout, spec.pool.least_rate)
        self._limits = RestartLimits(spec.title)
        self.resize(spec.pool.min_workers)

    @property
    def rate(self) -> float:
        """Tokens per second of a worker: measured, or assumed before the first measurement."""
        return self.work.rate or ASSUMED_FACTOR[self.spec.device] * self.spec.pool.least_rate

    def fastest_possible(self, now: float) -> float | None:
        """Return an upper bound of a worker's rate, from the time that the current units have taken.

        A part of a unit gives no bound: a few rows take mostly overhead, and the search for rows that end
        their worker must not make the pool grow.
        """
        rates = [
            worker.current.tokens / (now - worker.computing_since)
            for worker in self.workers
            if worker.current is not None and worker.current.whole and now > worker.computing_since
        ]
        return max(rates, default=None)

    def resize(self, target: int) -> None:
        """Set the number of workers: start those that are missing, dismiss those that are surplus."""
        self.target = target
        missing = target - self.workers.staying
        if missing > 0:
            for _ in range(missing - self.workers.recall(missing)):
                self._start_worker()
        elif missing < 0:
            for worker in self.workers.dismiss(-missing):
                self._end(worker)

    def dispatch(self, now: float) -> None:
        """Give work items to free workers until one of the two runs out."""
        while len(self.queue):
            worker = self.workers.free(alone=self.queue.first.alone)
            if worker is None:
                return
            self._assign(worker, self.queue.pop(), now)

    def pass_time(self, now: float, *, blocked: bool) -> None:
        """Note the state of the workers since the last call."""
        self._now = now
        self._recent.pass_time(now, 0.0)
        workers = self.workers
        self.clock.pass_time(
            now, workers=len(workers), ready=workers.ready, idle=workers.idle, blocked=blocked
        )

    def started(self, worker: Worker, answer: Ready, now: float) -> None:
        """Note that a worker has loaded the model, and report its notes."""
        self.workers.loaded(worker, answer.pid)
        self.startup.note(now - worker.requested_at)
        self.clock.started(now - worker.requested_at, answer.product_rate)
        self._limits.started()
        for note in answer.notes:
            self._links.report(WorkerNote(self.spec.title, answer.pid, note))

    def encoded(self, call: EncodeCall, stats: EncodeStats, now: float) -> None:
        """Add the columns of a work item to its unit's result."""
        item, worker = call.item, call.worker
        self._release(worker, item, now)
        self._limits.finished()
        self._done_tokens += item.tokens
        if item.whole:
            self._slowest.note(worker.pid, item.tokens, stats.seconds)
            self.work.note(item.tokens, stats.seconds)
        self._recent.note(now, stats.tokens)
        self.clock.worked(stats)
        item.encoded(call.columns, stats)
        if item.result.open_items == 0:
            self.clock.unit_done()

    def give_up(self, call: EncodeCall, reason: str, now: float) -> None:
        """Fail the unit of a work item that cannot be encoded, and drop its other items."""
        self._release(call.worker, call.item, now)
        call.item.give_up(reason)
        self.queue.drop(call.item.result)

    def try_again(self, call: EncodeCall, now: float) -> None:
        """Put back a work item that failed, although neither its rows nor its worker are at fault."""
        self._release(call.worker, call.item, now)
        self.queue.put_back([call.item])

    def died(self, worker: Worker, error: RayError) -> WorkItem | None:
        """Replace a worker that died; return the work item that it computed, if any."""
        if worker.starting:
            self._limits.died_starting(error, len(self.workers))
        return self.replace(worker, death_of(error))

    def hanging(self, now: float) -> list[tuple[Worker, Death]]:
        """Return the workers that have computed an item for too long, each with its death."""
        found = []
        for worker in self.workers:
            if worker.current is not None:
                # One of its rows may hold all of the unit's tokens.
                limit = self._slowest.timeout(worker.current.unit_tokens)
                if now - worker.computing_since > limit:
                    found.append((worker, Death(f"took longer than {limit:.0f} seconds", True)))
        return found

    def replace(self, worker: Worker, death: Death) -> WorkItem | None:
        """Replace a worker; return the work item that it computed, if any.

        The item is tried again, as a whole, alone or cut, or its only row is refused.
        """
        items, workers = list(worker.items), len(self.workers)
        self._end(worker)  # the process may still run: it hangs, or its node was out of reach for a moment
        self.resize(self.target)
        if not items:
            self._links.report(WorkerLost(self.spec.title, worker.pid, death.reason, None))
            return None
        self._links.report(WorkerLost(self.spec.title, worker.pid, death.reason, items[0].unit.name))
        suspects = try_alone(items, self.spec.pool.at_once)
        self.queue.put_back(items if suspects else [*retry(items[0], death), *items[1:]])
        self._limits.died(workers)
        if items[0].result.failed:
            self.queue.drop(items[0].result)
        return items[0]

    def actors(self) -> list[Any]:
        """Return the actors of all workers, including those that start or leave."""
        return [worker.actor for worker in self.workers]

    def state(self, intake: Intake) -> PoolState:
        """Return the state of the pool; the tokens left are projected from the input that has arrived."""
        expected_tokens = intake.expected_tokens(self.spec.tokenizer.key)
        return PoolState(
            model=self.spec.title,
            queued_tokens=self.queue.tokens,
            workers=self.workers.ready,
            starting=self.workers.starting,
            queued_units=len(self.queue),
            in_flight_tokens=self.workers.in_flight_tokens,
            draining=self.workers.leaving,
            target=self.target,
            min_workers=self.spec.pool.min_workers,
            max_workers=self.spec.pool.workers,
            tokens=self.clock.tokens,
            tokens_per_second=round(self._recent.arrival_rate, 1),
            waiting_share=round(self.clock.waiting_share, 3),
            done_tokens=self._done_tokens,
            left_tokens=None
            if expected_tokens is None
            else max(0, round(expected_tokens) - self._done_tokens),
            lengths=self.clock.lengths,
            rows=self.clock.rows,
            truncated_rows=self.clock.truncated_rows,
            pids=tuple(worker.pid for worker in self.workers if not worker.starting),
        )

    def _start_worker(self) -> None:
        actor = self._links.start(self.spec)
        worker = Worker(actor, actor.ready.remote(), self._now)
        self.workers.add(worker)
        self._links.calls.expect(worker.start_call, StartCall(self._index, worker))

    def _assign(self, worker: Worker, item: WorkItem, now: float) -> None:
        encode = worker.actor.encode.options(num_returns=2)
        columns, stats = encode.remote(item.unit.block, item.start, item.stop)
        self._links.calls.expect(stats, EncodeCall(self._index, worker, item, columns))
        self.workers.assign(worker, item, stats, now)

    def _release(self, worker: Worker, item: WorkItem, now: float) -> None:
        self.workers.release(worker, item, now)
        if worker.leaving and not worker.items:
            self._end(worker)

    def _end(self, worker: Worker) -> None:
        ray.kill(worker.actor)
        for reference in (worker.start_call, *worker.items.values()):
            self._links.calls.forget(reference)
        self.workers.remove(worker)
