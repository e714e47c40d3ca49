"""The workers of one pool: starting, ready or leaving, their work items, and which of them are free."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from corpusmill.pipeline.engine.work import WorkItem

PREFETCHED = 1
"""Work items that a worker holds beyond those that it computes; their blocks are fetched meanwhile."""


@dataclass(eq=False)
class Worker:
    """An actor, the reference of its start call (None once the model is loaded), and its process id.

    `requested_at` is when the driver asked Ray for the actor. `items` maps each work item that the worker
    holds, in order, to the reference of its answer. `computing_since` is when the worker began to compute the
    first of them. A worker that is `leaving` gets no more items, nor does a worker whose item is `alone`.
    """

    actor: Any
    start_call: Any
    requested_at: float
    pid: int = 0
    items: dict[WorkItem, Any] = field(default_factory=dict)
    computing_since: float = 0.0
    leaving: bool = False
    alone: bool = False

    @property
    def starting(self) -> bool:
        """Whether the worker is still loading its model."""
        return self.start_call is not None

    @property
    def current(self) -> WorkItem | None:
        """The work item that the worker computes; None if it is idle."""
        return next(iter(self.items), None)


class WorkerSet:
    """All workers of a pool; each computes `at_once` work items at once.

    The counts and the free workers are updated at each change, as there may be a thousand workers.
    `in_flight_items` and `in_flight_tokens` count the work items that workers hold, and their tokens.
    """

    def __init__(self, at_once: int = 1) -> None:
        self._workers: dict[Worker, None] = {}
        self._free: tuple[dict[Worker, None], ...] = tuple({} for _ in range(at_once + PREFETCHED))
        self.starting = self.leaving = 0
        self.in_flight_items = self.in_flight_tokens = 0

    def __len__(self) -> int:
        return len(self._workers)

    def __iter__(self) -> Iterator[Worker]:
        return iter(self._workers)

    @property
    def staying(self) -> int:
        """The number of workers that are starting or ready, without those that leave."""
        return len(self._workers) - self.leaving

    @property
    def ready(self) -> int:
        """The number of workers that have loaded the model, without those that leave."""
        return self.staying - self.starting

    @property
    def idle(self) -> int:
        """The number of ready workers that hold no work item."""
        return len(self._free[0])

    def add(self, worker: Worker) -> None:
        """Add a worker that is starting."""
        self._workers[worker] = None
        self.starting += 1

    def loaded(self, worker: Worker, pid: int) -> None:
        """Note that a worker is ready."""
        worker.start_call, worker.pid = None, pid
        self.starting -= 1
        self._place(worker)

    def free(self, *, alone: bool = False) -> Worker | None:
        """Return the ready worker with the fewest work items if it has room for one more, else None.

        An item that has to be `alone` needs a worker that holds nothing.
        """
        roomy = self._free[:1] if alone else self._free
        return next((next(iter(workers)) for workers in roomy if workers), None)

    def assign(self, worker: Worker, item: WorkItem, reference: Any, now: float) -> None:
        """Note that a worker was given a work item; `reference` is that of its answer."""
        if not worker.items:
            worker.computing_since = now
        worker.items[item] = reference
        worker.alone = item.alone
        self.in_flight_items += 1
        self.in_flight_tokens += item.tokens
        self._place(worker)

    def release(self, worker: Worker, item: WorkItem, now: float) -> None:
        """Note that a worker has finished or failed a work item."""
        worker.computing_since, worker.alone = now, False
        del worker.items[item]
        self.in_flight_items -= 1
        self.in_flight_tokens -= item.tokens
        self._place(worker)

    def dismiss(self, count: int) -> list[Worker]:
        """Mark workers to leave, first those that start, then idle ones; return those that hold nothing."""
        staying = [worker for worker in self._workers if not worker.leaving]
        # Of those that start, the newest leave first: the oldest will soon be ready.
        staying.sort(key=lambda worker: (not worker.starting, len(worker.items), -worker.requested_at))
        for worker in staying[:count]:
            self.starting -= worker.starting
            worker.leaving = True
            self.leaving += 1
            self._place(worker)
        return [worker for worker in staying[:count] if not worker.items]

    def recall(self, count: int) -> int:
        """Keep up to `count` workers that were marked to leave and still work; return how many."""
        found = [worker for worker in self._workers if worker.leaving][:count]
        for worker in found:
            worker.leaving = False
            self.leaving -= 1
            self._place(worker)
        return len(found)

    def remove(self, worker: Worker) -> None:
        """Remove a worker that has ended, with the items that it holds."""
        del self._workers[worker]
        self.leaving -= worker.leaving
        self.starting -= worker.starting and not worker.leaving
        self.in_flight_items -= len(worker.items)
        self.in_flight_tokens -= sum(item.tokens for item in worker.items)
        for workers in self._free:
            workers.pop(worker, None)

    def _place(self, worker: Worker) -> None:
        for workers in self._free:
            workers.pop(worker, None)
        available = not (worker.starting or worker.leaving or worker.alone)
        if available and len(worker.items) < len(self._free):
            self._free[len(worker.items)][worker] = None
