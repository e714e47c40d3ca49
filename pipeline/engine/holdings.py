"""What a pool's workers hold: pieces handed to their actors, found again by the references that answer."""

from collections.abc import Iterable
from typing import Any

from corpusmill.pipeline.engine.crew import Crew, Worker
from corpusmill.pipeline.engine.queue import Queue
from corpusmill.pipeline.engine.tickets import Piece


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
