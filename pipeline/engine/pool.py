"""One model's queue and its workers: Ray actors with at most two units in flight each."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ray.exceptions import RayActorError

from corpusmill.pipeline.blocks import UnitSummary
from corpusmill.pipeline.engine.outcomes import PoolState
from corpusmill.pipeline.errors import JobFailed
from corpusmill.pipeline.spec import ModelSpec

IN_FLIGHT = 2
"""Units a worker holds: one computed, one fetched meanwhile."""
MAX_DEATHS_OF_A_UNIT = 3
MAX_FAILED_STARTS = 3


@dataclass(eq=False)
class Ticket:
    """A unit on its way: the packed block, which models still have to do it, and the results so far."""

    row: Any
    bytes: int
    summary: UnitSummary
    waiting: set[int]
    results: dict[int, Any] = field(default_factory=dict)
    tokens: int = 0
    deaths: int = 0
    failed: str | None = None


@dataclass(eq=False)
class Worker:
    """An actor, the reference of its start (None once it has loaded), its process id, its units in order."""

    actor: Any
    starting: Any
    pid: int = 0
    held: list[tuple[Any, Any, Ticket]] = field(default_factory=list)


class Pool:
    """A queue of tickets and the workers that take from it; a dead worker's tickets go back to its front."""

    def __init__(self, spec: ModelSpec, start: Callable[[ModelSpec], Any]) -> None:
        self.spec = spec
        self._start = start
        self._queue: deque[Ticket] = deque()
        self._workers = [self._new_worker() for _ in range(spec.pool.workers)]
        self._failed_starts = 0

    def add(self, ticket: Ticket) -> None:
        """Put a unit at the end of the queue."""
        self._queue.append(ticket)

    def dispatch(self) -> None:
        """Hand queued units to the workers that hold fewest, up to IN_FLIGHT each."""
        ready = [worker for worker in self._workers if worker.starting is None]
        for holding in range(IN_FLIGHT):
            for worker in ready:
                if len(worker.held) == holding and self._queue:
                    ticket = self._queue.popleft()
                    columns, stats = worker.actor.encode.options(num_returns=2).remote(ticket.row)
                    worker.held.append((columns, stats, ticket))

    def awaited(self) -> Iterator[Any]:
        """Yield the references whose arrival `take` wants to hear of."""
        for worker in self._workers:
            if worker.starting is not None:
                yield worker.starting
            yield from (stats for _, stats, _ in worker.held)

    def started(self, reference: Any, pid: int) -> None:
        """Note that the worker whose start this reference stands for has loaded its model."""
        for worker in self._workers:
            if worker.starting is not None and worker.starting == reference:
                worker.starting = None
                worker.pid = pid
                self._failed_starts = 0

    def take(self, reference: Any) -> tuple[Any, Ticket] | None:
        """Remove a finished unit from its worker: (columns, ticket); None if it is not of this pool."""
        for worker in self._workers:
            for entry in worker.held:
                if entry[1] == reference:
                    worker.held.remove(entry)
                    return entry[0], entry[2]
        return None

    def lost(self, reference: Any, error: RayActorError) -> Ticket | None:
        """Replace the worker that died holding this reference and requeue its units in order.

        Returns the unit that was being computed if it has now ended MAX_DEATHS_OF_A_UNIT workers; that one is
        not requeued.
        """
        worker = next(
            w for w in self._workers if w.starting == reference or any(e[1] == reference for e in w.held)
        )
        self._workers[self._workers.index(worker)] = self._new_worker()
        tickets = [ticket for _, _, ticket in worker.held]
        if worker.starting is not None:
            self._count_failed_start(error)
        given_up = None
        if tickets:
            tickets[0].deaths += 1
            if tickets[0].deaths >= MAX_DEATHS_OF_A_UNIT:
                given_up = tickets.pop(0)
        self._queue.extendleft(reversed(tickets))
        return given_up

    def actors(self) -> list[Any]:
        """Return the workers' actors, those still starting included."""
        return [worker.actor for worker in self._workers]

    def state(self) -> PoolState:
        """Return the tokens waiting (not yet with a worker) and the workers."""
        key = self.spec.tokenizer.key
        queued = sum(ticket.summary.tokens.get(key, 0) for ticket in self._queue)
        pids = tuple(worker.pid for worker in self._workers if worker.starting is None)
        return PoolState(self.spec.title, queued, len(pids), len(self._workers) - len(pids), pids)

    def _new_worker(self) -> Worker:
        actor = self._start(self.spec)
        return Worker(actor, actor.ready.remote())

    def _count_failed_start(self, error: RayActorError) -> None:
        if error.actor_init_failed:
            reason = str(error).strip().splitlines()[-1]
            raise JobFailed(f"model {self.spec.title}: a worker could not load it: {reason}")
        self._failed_starts += 1
        if self._failed_starts >= MAX_FAILED_STARTS:
            raise JobFailed(
                f"model {self.spec.title}: {MAX_FAILED_STARTS} workers in a row died while loading; is there "
                "enough memory for the model? Run again with --debug to see the workers' own output"
            )
