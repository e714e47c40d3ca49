"""One model's queue and its workers: Ray actors with at most two pieces in flight each."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayError

from corpusmill.pipeline.autoscaling.meters import FlowMeter, StartMeter, WorkMeter
from corpusmill.pipeline.engine.bisection import DIED, OUT_OF_MEMORY, Death, after_death
from corpusmill.pipeline.engine.crew import Crew, Worker
from corpusmill.pipeline.engine.outcomes import PoolState, WorkerLost, WorkerNote
from corpusmill.pipeline.engine.patience import Pace, Patience
from corpusmill.pipeline.engine.streaks import Streaks
from corpusmill.pipeline.engine.tickets import Piece, Share, Ticket
from corpusmill.pipeline.engine.times import EncodeClock
from corpusmill.pipeline.spec import ModelSpec

LATELY = 10.0
"""Seconds over which a pool's rate is shown."""


class Pool:
    """A queue of pieces and the workers that take from it; what a dead worker held goes back to its front.

    `resize` says how many workers there should be: missing ones are started, also for those that die; ones
    too many get no more pieces and go once they have done those they hold.
    """

    def __init__(
        self, index: int, spec: ModelSpec, start: Callable[[ModelSpec], Any], patience: Patience, now: float
    ) -> None:
        self.spec = spec
        self.crew = Crew()
        self.clock = EncodeClock(spec.title)
        self.work, self.startup = WorkMeter(), StartMeter()
        self.target = 0
        self.queued_tokens = self.in_flight_tokens = 0
        self._index = index
        self._start = start
        self._now = now
        self._lately = FlowMeter(LATELY, now)
        self._done = 0
        self._pace = Pace(patience, spec.pool.least_rate)
        self._streaks = Streaks(spec.title, spec.pool.workers)
        self._queue: deque[Piece] = deque()
        self._worker_of: dict[Any, Worker] = {}
        self._in_flight = 0
        self._notes: list[WorkerNote] = []
        self.resize(spec.pool.min_workers)

    @property
    def units(self) -> int:
        """Pieces that wait or are being worked at."""
        return len(self._queue) + self._in_flight

    def add(self, ticket: Ticket) -> None:
        """Put a unit at the end of the queue."""
        piece = Piece(ticket, ticket.shares[self._index], 0, ticket.summary.rows)
        self._queue.append(piece)
        self.queued_tokens += self._tokens(piece)

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
        """Hand queued pieces to the workers that hold fewest, up to IN_FLIGHT each."""
        while self._queue:
            worker = self.crew.free()
            if worker is None:
                return
            self._hand(worker, self._pop(), now)

    def pass_time(self, now: float, *, blocked: bool) -> None:
        """Note how the workers stood since the last call."""
        self._now = now
        self._lately.pass_time(now, 0.0)
        self.clock.pass_time(
            now, workers=len(self.crew), ready=self.crew.ready, idle=self.crew.idle, blocked=blocked
        )

    def awaited(self) -> Iterable[Any]:
        """Return the references whose arrival the pool wants to hear of."""
        return self._worker_of.keys()

    def awaits(self, reference: Any) -> bool:
        """Say whether a reference is one of them."""
        return reference in self._worker_of

    def answered(self, reference: Any, answer: Any, now: float) -> Ticket | None:
        """Note what a reference brought; returns the unit if it was a piece of one, None for a start."""
        worker = self._worker_of[reference]
        if reference == worker.starting:
            del self._worker_of[reference]
            self.crew.loaded(worker, answer.pid)
            self.startup.note(now - worker.asked)
            self.clock.started(now - worker.asked, answer.product_rate)
            self._streaks.started()
            if answer.note is not None:
                self._notes.append(WorkerNote(self.clock.model, answer.pid, answer.note))
            return None
        columns, piece = self._take(reference, now)
        self._streaks.finished()
        tokens = self._tokens(piece)
        self._done += tokens
        if piece.whole:
            self._pace.note(worker.pid, tokens, answer.seconds)
            self.work.note(tokens, answer.seconds)
        self._lately.note(now, answer.tokens)
        self.clock.worked(answer.tokens, answer.seconds, answer.flops, answer.lengths)
        piece.answered(columns, answer)
        if piece.share.open == 0:
            self.clock.unit()
        return piece.ticket

    def notes(self) -> list[WorkerNote]:
        """Return what workers that have started since the last call had to say."""
        said, self._notes = self._notes, []
        return said

    def failed(self, reference: Any, reason: str, now: float) -> Ticket:
        """Note that a piece cannot be done: its unit's others are not tried."""
        _, piece = self._take(reference, now)
        piece.given_up(reason)
        self._drop(piece.share)
        return piece.ticket

    def piece(self, reference: Any) -> Piece:
        """Return the piece whose statistics a reference stands for."""
        return self._worker_of[reference].held[reference][1]

    def again(self, reference: Any, now: float) -> None:
        """Put a piece back that failed for no fault of its own or of its worker."""
        _, piece = self._take(reference, now)
        self._put_back([piece])

    def lost(self, reference: Any, error: RayError) -> Iterator[WorkerLost | Ticket]:
        """Replace the worker that died holding this reference and decide on what it held."""
        worker = self._worker_of[reference]
        if worker.starting is not None:
            self._streaks.died_starting(error)
        yield from self._replace(worker, OUT_OF_MEMORY if isinstance(error, OutOfMemoryError) else DIED)

    def overdue(self, now: float) -> Iterator[WorkerLost | Ticket]:
        """Kill and replace the workers that have been at a piece for too long."""
        for worker in list(self.crew):
            if worker.held:
                _, piece = next(iter(worker.held.values()))
                # One of its rows may hold all of the unit's tokens.
                limit = self._pace.limit(piece.ticket.size(self.spec.tokenizer.key))
                if now - worker.since > limit:
                    yield from self._replace(worker, Death(f"took longer than {limit:.0f} seconds", True))

    def actors(self) -> list[Any]:
        """Return the workers' actors, those starting and leaving included."""
        return [worker.actor for worker in self.crew]

    def state(self, expected: float | None) -> PoolState:
        """Count what waits and who works; `expected` are the tokens of all units that ever come."""
        return PoolState(
            model=self.spec.title,
            queued_tokens=self.queued_tokens,
            workers=self.crew.ready,
            starting=self.crew.starting,
            queued_units=len(self._queue),
            in_flight_tokens=self.in_flight_tokens,
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

    def _tokens(self, piece: Piece) -> int:
        return piece.tokens(self.spec.tokenizer.key)

    def _pop(self) -> Piece:
        piece = self._queue.popleft()
        self.queued_tokens -= self._tokens(piece)
        return piece

    def _put_back(self, pieces: list[Piece]) -> None:
        self._queue.extendleft(reversed(pieces))
        self.queued_tokens += sum(self._tokens(piece) for piece in pieces)

    def _hand(self, worker: Worker, piece: Piece, now: float) -> None:
        encode = worker.actor.encode.options(num_returns=2)
        columns, stats = encode.remote(piece.ticket.row, piece.start, piece.stop)
        if not worker.held:
            worker.since = now
        worker.held[stats] = (columns, piece)
        self._worker_of[stats] = worker
        self._in_flight += 1
        self.in_flight_tokens += self._tokens(piece)
        self.crew.changed(worker)

    def _take(self, reference: Any, now: float) -> tuple[Any, Piece]:
        worker = self._worker_of.pop(reference)
        worker.since = now
        found = worker.held.pop(reference)
        self._in_flight -= 1
        self.in_flight_tokens -= self._tokens(found[1])
        self.crew.changed(worker)
        if worker.leaving and not worker.held:
            self._end(worker)
        return found

    def _drop(self, share: Share) -> None:
        share.open -= sum(piece.share is share for piece in self._queue)
        self._queue = deque(piece for piece in self._queue if piece.share is not share)
        self.queued_tokens = sum(self._tokens(piece) for piece in self._queue)

    def _add_worker(self) -> None:
        actor = self._start(self.spec)
        worker = Worker(actor, actor.ready.remote(), self._now)
        self.crew.add(worker)
        self._worker_of[worker.starting] = worker

    def _replace(self, worker: Worker, death: Death) -> Iterator[WorkerLost | Ticket]:
        """Start another worker instead; the piece it was at is tried again, in parts, or refused."""
        pieces = [piece for _, piece in worker.held.values()]
        self._end(worker)  # it may only have been out of reach, or hang
        self.resize(self.target)
        first = pieces[:1]
        yield WorkerLost(
            self.spec.title,
            worker.pid,
            death.reason,
            first[0].ticket.summary.unit.name if first else None,
        )
        self._put_back([*(after_death(first[0], death) if first else ()), *pieces[1:]])
        if first:
            self._streaks.died()
            if first[0].share.failed:
                self._drop(first[0].share)
            yield first[0].ticket

    def _end(self, worker: Worker) -> None:
        ray.kill(worker.actor)
        self.crew.remove(worker)
        for reference in (worker.starting, *worker.held):
            self._worker_of.pop(reference, None)
        self._in_flight -= len(worker.held)
        self.in_flight_tokens -= sum(self._tokens(piece) for _, piece in worker.held.values())
