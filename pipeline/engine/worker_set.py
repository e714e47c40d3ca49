"""What a pool's workers hold: pieces handed to their actors, found again by the references that answer."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from corpusmill.pipeline.engine.work import Piece, Queue

FETCHED = 1
"""Pieces a worker holds beside those that it is at: fetched meanwhile."""

# A pool's workers: who is starting, ready or leaving, and who is free, each found at once.


@dataclass(eq=False)
class Worker:
    """An actor, the reference of its start (None once it has loaded), its process id, its pieces in order.

    `held` maps the reference of a piece's statistics to (reference of its columns, piece). `since` is when
    the first of them became the one that is computed; `asked` when the actor was asked for. One that is
    `leaving` gets no more pieces, nor does one whose piece is to be `alone`.
    """

    actor: Any
    starting: Any
    asked: float
    pid: int = 0
    held: dict[Any, tuple[Any, Piece]] = field(default_factory=dict)
    since: float = 0.0
    leaving: bool = False
    alone: bool = False


class Crew:
    """All workers of a pool, each at `at_once` pieces at once.

    Counts and free workers are kept, not searched for: there may be a thousand.
    """

    def __init__(self, at_once: int = 1) -> None:
        self._workers: dict[Worker, None] = {}
        self._free: tuple[dict[Worker, None], ...] = tuple({} for _ in range(at_once + FETCHED))
        self.starting = self.leaving = 0

    def __len__(self) -> int:
        return len(self._workers)

    def __iter__(self) -> Iterator[Worker]:
        return iter(self._workers)

    @property
    def staying(self) -> int:
        """Workers that are starting or ready, without those that leave."""
        return len(self._workers) - self.leaving

    @property
    def ready(self) -> int:
        """Workers that have loaded the model, without those that leave."""
        return self.staying - self.starting

    @property
    def idle(self) -> int:
        """Ready workers that hold nothing."""
        return len(self._free[0])

    def add(self, worker: Worker) -> None:
        """Take on a worker that was asked for."""
        self._workers[worker] = None
        self.starting += 1

    def loaded(self, worker: Worker, pid: int) -> None:
        """Note that a worker is ready."""
        worker.starting, worker.pid = None, pid
        self.starting -= 1
        self._place(worker)

    def free(self, *, alone: bool = False) -> Worker | None:
        """Return a ready worker that holds as few pieces as any, and room for one; None if there is none.

        For a piece that is to be `alone` only one that holds none has room.
        """
        roomy = self._free[:1] if alone else self._free
        return next((next(iter(workers)) for workers in roomy if workers), None)

    def changed(self, worker: Worker) -> None:
        """Note that what a worker holds has changed."""
        self._place(worker)

    def dismiss(self, count: int) -> list[Worker]:
        """Choose workers to go, those starting first, the idle next; returns those that hold nothing."""
        staying = [worker for worker in self._workers if not worker.leaving]
        # The newest starts first, as the oldest will soon be ready.
        staying.sort(key=lambda worker: (worker.starting is None, len(worker.held), -worker.asked))
        for worker in staying[:count]:
            self.starting -= worker.starting is not None
            worker.leaving = True
            self.leaving += 1
            self._place(worker)
        return [worker for worker in staying[:count] if not worker.held]

    def recall(self, count: int) -> int:
        """Keep workers that were leaving and still work; returns how many."""
        found = [worker for worker in self._workers if worker.leaving][:count]
        for worker in found:
            worker.leaving = False
            self.leaving -= 1
            self._place(worker)
        return len(found)

    def remove(self, worker: Worker) -> None:
        """Forget a worker that is gone."""
        del self._workers[worker]
        self.leaving -= worker.leaving
        self.starting -= worker.starting is not None and not worker.leaving
        for workers in self._free:
            workers.pop(worker, None)

    def _place(self, worker: Worker) -> None:
        for workers in self._free:
            workers.pop(worker, None)
        staying = worker.starting is None and not worker.leaving
        if staying and not worker.alone and len(worker.held) < len(self._free):
            self._free[len(worker.held)][worker] = None


class Holdings:
    """The pieces at a crew's workers, and the references that are waited for, those of starts among them."""

    def __init__(self, crew: Crew, queue: Queue) -> None:
        self.pieces = self.tokens = 0
        self._crew, self._queue = crew, queue
        self._worker_of: dict[Any, Worker] = {}

    def __contains__(self, reference: Any) -> bool:
        return reference in self._worker_of

    @property
    def references(self) -> Iterable[Any]:
        """All that is waited for."""
        return self._worker_of.keys()

    def worker(self, reference: Any) -> Worker:
        """Return the worker that a reference is of."""
        return self._worker_of[reference]

    def piece(self, reference: Any) -> Piece:
        """Return the piece whose statistics a reference stands for."""
        return self._worker_of[reference].held[reference][1]

    def starting(self, worker: Worker) -> None:
        """Wait for a worker's start."""
        self._worker_of[worker.starting] = worker

    def started(self, reference: Any) -> None:
        """Wait no more for a start."""
        del self._worker_of[reference]

    def hand(self, worker: Worker, piece: Piece, now: float) -> None:
        """Give a piece to a worker's actor."""
        encode = worker.actor.encode.options(num_returns=2)
        columns, stats = encode.remote(piece.ticket.row, piece.start, piece.stop)
        if not worker.held:
            worker.since = now
        worker.held[stats] = (columns, piece)
        worker.alone = piece.alone
        self._worker_of[stats] = worker
        self.pieces += 1
        self.tokens += self._queue.size(piece)
        self._crew.changed(worker)

    def take(self, reference: Any, now: float) -> tuple[Worker, Any, Piece]:
        """Take a piece from its worker, which has answered; the reference of its columns with it."""
        worker = self._worker_of.pop(reference)
        worker.since, worker.alone = now, False
        columns, piece = worker.held.pop(reference)
        self.pieces -= 1
        self.tokens -= self._queue.size(piece)
        self._crew.changed(worker)
        return worker, columns, piece

    def forget(self, worker: Worker) -> None:
        """Wait for nothing more of a worker that is gone."""
        for reference in (worker.starting, *worker.held):
            self._worker_of.pop(reference, None)
        self.pieces -= len(worker.held)
        self.tokens -= sum(self._queue.size(piece) for _, piece in worker.held.values())
