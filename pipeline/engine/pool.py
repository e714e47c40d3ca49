"""One model's queue and its workers: Ray actors with at most two pieces in flight each."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayError

from corpusmill.pipeline.engine.bisection import DIED, OUT_OF_MEMORY, Death, after_death
from corpusmill.pipeline.engine.outcomes import PoolState, WorkerLost
from corpusmill.pipeline.engine.patience import Pace, Patience
from corpusmill.pipeline.engine.streaks import Streaks
from corpusmill.pipeline.engine.tickets import Piece, Share, Ticket
from corpusmill.pipeline.spec import ModelSpec

IN_FLIGHT = 2
"""Pieces a worker holds: one computed, one fetched meanwhile."""


@dataclass(eq=False)
class Worker:
    """An actor, the reference of its start (None once it has loaded), its process id, its pieces in order.

    `held` maps the reference of a piece's statistics to (reference of its columns, piece). `since` is when
    the first of them became the one that is computed.
    """

    actor: Any
    starting: Any
    pid: int = 0
    held: dict[Any, tuple[Any, Piece]] = field(default_factory=dict)
    since: float = 0.0


class Pool:
    """A queue of pieces and the workers that take from it; what a dead worker held goes back to its front."""

    def __init__(
        self, index: int, spec: ModelSpec, start: Callable[[ModelSpec], Any], patience: Patience
    ) -> None:
        self.spec = spec
        self._index = index
        self._start = start
        self._pace = Pace(patience, spec.pool.least_rate)
        self._streaks = Streaks(spec.title, spec.pool.workers)
        self._queue: deque[Piece] = deque()
        self._worker_of: dict[Any, Worker] = {}
        self._workers: dict[Worker, None] = {}
        for _ in range(spec.pool.workers):
            self._add_worker()

    def add(self, ticket: Ticket) -> None:
        """Put a unit at the end of the queue."""
        self._queue.append(Piece(ticket, ticket.shares[self._index], 0, ticket.summary.rows))

    def dispatch(self, now: float) -> None:
        """Hand queued pieces to the workers that hold fewest, up to IN_FLIGHT each."""
        ready = [worker for worker in self._workers if worker.starting is None]
        for holding in range(IN_FLIGHT):
            for worker in ready:
                if len(worker.held) == holding and self._queue:
                    self._hand(worker, self._queue.popleft(), now)

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
            worker.starting, worker.pid = None, answer
            self._streaks.started()
            return None
        columns, piece = self._take(reference, now)
        self._streaks.finished()
        if piece.whole:
            self._pace.note(worker.pid, piece.tokens(self.spec.tokenizer.key), answer.seconds)
        piece.answered(columns, answer)
        return piece.ticket

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
        self._queue.appendleft(piece)

    def lost(self, reference: Any, error: RayError) -> Iterator[WorkerLost | Ticket]:
        """Replace the worker that died holding this reference and decide on what it held."""
        worker = self._worker_of[reference]
        if worker.starting is not None:
            self._streaks.died_starting(error)
        yield from self._replace(worker, OUT_OF_MEMORY if isinstance(error, OutOfMemoryError) else DIED)

    def overdue(self, now: float) -> Iterator[WorkerLost | Ticket]:
        """Kill and replace the workers that have been at a piece for too long."""
        for worker in list(self._workers):
            if worker.held:
                _, piece = next(iter(worker.held.values()))
                # One of its rows may hold all of the unit's tokens.
                limit = self._pace.limit(piece.ticket.size(self.spec.tokenizer.key))
                if now - worker.since > limit:
                    yield from self._replace(worker, Death(f"took longer than {limit:.0f} seconds", True))

    def actors(self) -> list[Any]:
        """Return the workers' actors, those still starting included."""
        return [worker.actor for worker in self._workers]

    def state(self) -> PoolState:
        """Count what waits and who works."""
        starting = sum(worker.starting is not None for worker in self._workers)
        key = self.spec.tokenizer.key
        queued = sum(piece.tokens(key) for piece in self._queue)
        ready = [worker for worker in self._workers if worker.starting is None]
        return PoolState(self.spec.title, queued, len(ready), starting, tuple(worker.pid for worker in ready))

    def _hand(self, worker: Worker, piece: Piece, now: float) -> None:
        encode = worker.actor.encode.options(num_returns=2)
        columns, stats = encode.remote(piece.ticket.row, piece.start, piece.stop)
        if not worker.held:
            worker.since = now
        worker.held[stats] = (columns, piece)
        self._worker_of[stats] = worker

    def _take(self, reference: Any, now: float) -> tuple[Any, Piece]:
        worker = self._worker_of.pop(reference)
        worker.since = now
        return worker.held.pop(reference)

    def _drop(self, share: Share) -> None:
        share.open -= sum(piece.share is share for piece in self._queue)
        self._queue = deque(piece for piece in self._queue if piece.share is not share)

    def _add_worker(self) -> None:
        actor = self._start(self.spec)
        worker = Worker(actor, actor.ready.remote())
        self._workers[worker] = None
        self._worker_of[worker.starting] = worker

    def _replace(self, worker: Worker, death: Death) -> Iterator[WorkerLost | Ticket]:
        """Start another worker instead; the piece it was at is tried again, in parts, or refused."""
        ray.kill(worker.actor)  # it may only have been out of reach, or hang
        self._forget(worker)
        self._add_worker()
        pieces = [piece for _, piece in worker.held.values()]
        first = pieces[:1]
        yield WorkerLost(
            self.spec.title,
            worker.pid,
            death.reason,
            first[0].ticket.summary.unit.name if first else None,
        )
        back = [*(after_death(first[0], death) if first else ()), *pieces[1:]]
        self._queue.extendleft(reversed(back))
        if first:
            self._streaks.died()
            if first[0].share.failed:
                self._drop(first[0].share)
            yield first[0].ticket

    def _forget(self, worker: Worker) -> None:
        del self._workers[worker]
        for reference in (worker.starting, *worker.held):
            self._worker_of.pop(reference, None)
