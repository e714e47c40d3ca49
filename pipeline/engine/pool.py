"""One model at work: its queue, and the pool of Ray actors that take from it, a few pieces each."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayError

from corpusmill.pipeline.autoscaling.meters import FlowMeter, StartMeter, WorkMeter
from corpusmill.pipeline.engine.faults import (
    DIED,
    OUT_OF_MEMORY,
    Death,
    Pace,
    Patience,
    Streaks,
    after_death,
    suspected,
)
from corpusmill.pipeline.engine.feeder import Intake
from corpusmill.pipeline.engine.messages import PoolState, WorkerLost, WorkerNote
from corpusmill.pipeline.engine.stage_times import EncodeClock
from corpusmill.pipeline.engine.work import Piece, Queue, Ticket
from corpusmill.pipeline.engine.worker_set import Crew, Holdings, Worker
from corpusmill.pipeline.spec import ModelSpec

LATELY = 10.0
"""Seconds over which a pool's rate is shown."""
TYPICAL = {"cpu": 50.0, "cuda": 5000.0}
"""How many times faster than its `least_rate` a worker is taken to be until it has done a unit, by device."""

Touched = WorkerLost | WorkerNote | Ticket
"""What an answer leads to: something to tell, or a unit to look at."""


class Pool:
    """The workers of the job's `index`-th model and its queue; what a dead one held goes back to its front.

    `resize` says how many workers there should be: missing ones are started, also for those that die; ones
    too many get no more pieces and go once they have done those they hold.
    """

    def __init__(
        self, index: int, spec: ModelSpec, start: Callable[[ModelSpec], Any], patience: Patience, now: float
    ) -> None:
        self.spec = spec
        self.queue = Queue(index, spec.tokenizer.key)
        self.crew = Crew(spec.pool.at_once)
        self.holdings = Holdings(self.crew, self.queue)
        self.clock = EncodeClock(spec.title)
        self.work, self.startup = WorkMeter(), StartMeter()
        self.target = 0
        self._start = start
        self._now = now
        self._lately = FlowMeter(LATELY, now)
        self._done = 0
        self._pace = Pace(patience, spec.pool.least_rate)
        self._streaks = Streaks(spec.title, spec.pool.workers)
        self.resize(spec.pool.min_workers)

    @property
    def rate(self) -> float:
        """Tokens per second that a worker does, or is taken to do until one was seen."""
        return self.work.rate or TYPICAL[self.spec.device] * self.spec.pool.least_rate

    def fastest_possible(self, now: float) -> float | None:
        """Return a rate that a worker does not exceed, from how long the first units have taken so far."""
        at_work = [worker for worker in self.crew if worker.held and now > worker.since]
        tokens = [self.queue.size(next(iter(worker.held.values()))[1]) for worker in at_work]
        rates = [count / (now - worker.since) for count, worker in zip(tokens, at_work, strict=True)]
        return max(rates, default=None)

    def resize(self, target: int) -> None:
        """Have so many workers: start those that are missing, let go those that are too many."""
        self.target = target
        missing = target - self.crew.staying
        if missing > 0:
            for _ in range(missing - self.crew.recall(missing)):
                self._add_worker()
        elif missing < 0:
            for worker in self.crew.dismiss(-missing):
                self._end(worker)

    def dispatch(self, now: float) -> None:
        """Hand pieces to free workers, while there are both."""
        while len(self.queue):
            worker = self.crew.free(alone=self.queue.first.alone)
            if worker is None:
                return
            self.holdings.hand(worker, self.queue.pop(), now)

    def pass_time(self, now: float, *, blocked: bool) -> None:
        """Note how the workers stood since the last call."""
        self._now = now
        self._lately.pass_time(now, 0.0)
        self.clock.pass_time(
            now, workers=len(self.crew), ready=self.crew.ready, idle=self.crew.idle, blocked=blocked
        )

    def awaited(self) -> Iterable[Any]:
        """Return the references whose arrival the pool wants to hear of."""
        return self.holdings.references

    def awaits(self, reference: Any) -> bool:
        """Say whether a reference is one of them."""
        return reference in self.holdings

    def answered(self, reference: Any, answer: Any, now: float) -> Iterator[Touched]:
        """Note what a reference brought: a start, or a piece of a unit that was encoded."""
        worker = self.holdings.worker(reference)
        if reference == worker.starting:
            self.holdings.started(reference)
            self.crew.loaded(worker, answer.pid)
            self.startup.note(now - worker.asked)
            self.clock.started(now - worker.asked, answer.product_rate)
            self._streaks.started()
            for note in answer.notes:
                yield WorkerNote(self.spec.title, answer.pid, note)
            return
        columns, piece = self._take(reference, now)
        self._streaks.finished()
        tokens = self.queue.size(piece)
        self._done += tokens
        if piece.whole:
            self._pace.note(worker.pid, tokens, answer.seconds)
            self.work.note(tokens, answer.seconds)
        self._lately.note(now, answer.tokens)
        self.clock.worked(answer)
        piece.answered(columns, answer)
        if piece.share.open == 0:
            self.clock.unit()
        yield piece.ticket

    def failed(self, reference: Any, reason: str, now: float) -> Ticket:
        """Note that a piece cannot be done: its unit's others are not tried."""
        _, piece = self._take(reference, now)
        piece.given_up(reason)
        self.queue.drop(piece.share)
        return piece.ticket

    def piece(self, reference: Any) -> Piece:
        """Return the piece whose statistics a reference stands for."""
        return self.holdings.piece(reference)

    def again(self, reference: Any, now: float) -> None:
        """Put a piece back that failed for no fault of its own or of its worker."""
        _, piece = self._take(reference, now)
        self.queue.put_back([piece])

    def lost(self, reference: Any, error: RayError) -> Iterator[Touched]:
        """Replace the worker that died holding this reference and decide on what it held."""
        worker = self.holdings.worker(reference)
        if worker.starting is not None:
            self._streaks.died_starting(error)
        yield from self._replace(worker, OUT_OF_MEMORY if isinstance(error, OutOfMemoryError) else DIED)

    def overdue(self, now: float) -> Iterator[Touched]:
        """Kill and replace the workers that have been at a piece for too long."""
        for worker in list(self.crew):
            if worker.held:
                _, piece = next(iter(worker.held.values()))
                # One of its rows may hold all of the unit's tokens.
                limit = self._pace.limit(piece.ticket.size(self.queue.tokenizer))
                if now - worker.since > limit:
                    yield from self._replace(worker, Death(f"took longer than {limit:.0f} seconds", True))

    def actors(self) -> list[Any]:
        """Return the workers' actors, those starting and leaving included."""
        return [worker.actor for worker in self.crew]

    def state(self, intake: Intake) -> PoolState:
        """Count what waits and who works, and project what is left from what came of the input."""
        expected = intake.expected(self.queue.tokenizer)
        return PoolState(
            model=self.spec.title,
            queued_tokens=self.queue.tokens,
            workers=self.crew.ready,
            starting=self.crew.starting,
            queued_units=len(self.queue),
            in_flight_tokens=self.holdings.tokens,
            draining=self.crew.leaving,
            target=self.target,
            min_workers=self.spec.pool.min_workers,
            max_workers=self.spec.pool.workers,
            tokens=self.clock.tokens,
            tokens_per_second=round(self._lately.arrival_rate, 1),
            waiting_share=round(self.clock.waiting_share, 3),
            done_tokens=self._done,
            left_tokens=None if expected is None else max(0, round(expected) - self._done),
            lengths=self.clock.lengths,
            pids=tuple(worker.pid for worker in self.crew if worker.starting is None),
        )

    def _take(self, reference: Any, now: float) -> tuple[Any, Piece]:
        worker, columns, piece = self.holdings.take(reference, now)
        if worker.leaving and not worker.held:
            self._end(worker)
        return columns, piece

    def _add_worker(self) -> None:
        actor = self._start(self.spec)
        worker = Worker(actor, actor.ready.remote(), self._now)
        self.crew.add(worker)
        self.holdings.starting(worker)

    def _replace(self, worker: Worker, death: Death) -> Iterator[Touched]:
        """Start another worker instead; the piece it was at is tried again, alone, in parts, or refused."""
        pieces = [piece for _, piece in worker.held.values()]
        self._end(worker)  # it may only have been out of reach, or hang
        self.resize(self.target)
        first = pieces[:1]
        unit = first[0].ticket.summary.unit.name if first else None
        yield WorkerLost(self.spec.title, worker.pid, death.reason, unit)
        if suspected(pieces, self.spec.pool.at_once):
            self._streaks.died()
            self.queue.put_back(pieces)
            return
        self.queue.put_back([*(after_death(first[0], death) if first else ()), *pieces[1:]])
        if first:
            self._streaks.died()
            if first[0].share.failed:
                self.queue.drop(first[0].share)
            yield first[0].ticket

    def _end(self, worker: Worker) -> None:
        ray.kill(worker.actor)
        self.crew.remove(worker)
        self.holdings.forget(worker)
