"""The record path on Ray: Ray Data reads and tokenizes, a pool per model encodes, committers write."""

import time
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError

from corpusmill.pipeline.engine.feeder import Feeder
from corpusmill.pipeline.engine.outcomes import EngineState, Outcome, UnitFailure, WorkerLost
from corpusmill.pipeline.engine.patience import Patience
from corpusmill.pipeline.engine.pool import Pool
from corpusmill.pipeline.engine.source import token_rows
from corpusmill.pipeline.engine.tickets import Share, Ticket
from corpusmill.pipeline.engine.workers import Done, start_committer, start_encoder, summarize
from corpusmill.pipeline.errors import JobFailed
from corpusmill.pipeline.planning import Pending
from corpusmill.pipeline.receipts import Receipt
from corpusmill.pipeline.spec import PipelineSpec
from corpusmill.pipeline.units import split_key

HEARTBEAT = 0.2
"""Seconds between two heartbeats when nothing happens."""
OPEN_UNITS_PER_WORKER = 4
WORKERS_PER_COMMITTER = 16
STORE_SHARE = 0.25
"""Share of the object store that units waiting for an encoder may take; Ray Data's own share comes on top."""
PATIENCE = Patience()
MAX_LOSSES = 3
"""How often a unit is tried again whose objects were lost with their node."""
LAST_COMMITS = 4.0
"""Seconds that the end of a stopped run waits for commits under way."""


class RayEngine:
    """Runs pending splits through a running Ray cluster."""

    def __init__(self, spec: PipelineSpec) -> None:
        self._spec = spec
        self._encoded = 0
        self._splits: dict[str, Any] = {}
        self._pools: list[Pool] = []
        self._committers: list[Any] = []
        self._summaries: dict[Any, tuple[Any, int]] = {}
        self._commits: dict[Any, Ticket] = {}
        self._open = 0

    def run(self, pending: Sequence[Pending]) -> Generator[Outcome, None, None]:
        """Process the units; workers start, work and stop inside this iterator."""
        _check_fits(self._spec)
        self._splits = {each.split.key: each.split for each in pending}
        workers = sum(model.pool.workers for model in self._spec.models)
        feeder = self._feeder(pending, workers)
        try:
            self._pools = [
                Pool(index, model, start_encoder, PATIENCE) for index, model in enumerate(self._spec.models)
            ]
            self._committers = [
                start_committer(self._spec.input, self._spec.output)
                for _ in range(1 + workers // WORKERS_PER_COMMITTER)
            ]
            feeder.start()
            while not (feeder.finished and self._open == 0):
                self._accept(feeder)
                for pool in self._pools:
                    pool.dispatch(time.monotonic())
                yield from self._collect(feeder)
                yield None
        finally:
            self._stop(feeder)

    def state(self) -> EngineState:
        """Return the pools as they are, and the tokens encoded."""
        return EngineState(tuple(pool.state() for pool in self._pools), self._encoded)

    def _feeder(self, pending: Sequence[Pending], workers: int) -> Feeder:
        cpus = sum(model.pool.workers * model.pool.cpus for model in self._spec.models)
        store = ray.cluster_resources().get("object_store_memory", 1e9)
        return Feeder(
            lambda: token_rows(pending, self._spec, reserved_cpus=cpus),
            max_units=OPEN_UNITS_PER_WORKER * workers + 2,
            max_bytes=int(store * STORE_SHARE),
        )

    def _accept(self, feeder: Feeder) -> None:
        """Take new units from the feeder; their summaries tell what to queue."""
        try:
            arrived = feeder.arrived(timeout=HEARTBEAT if self._open == 0 else 0.0)
        except RayError as error:
            raise JobFailed(
                f"reading or tokenizing failed ({_first_line(error)}); run again with --debug to see more"
            ) from error
        for row, size in arrived:
            self._open += 1
            self._summaries[summarize.remote(row)] = (row, size)

    def _collect(self, feeder: Feeder) -> Iterator[Outcome]:
        """Wait for something to finish and act on all that has."""
        for reference, answer in self._answers(HEARTBEAT):
            yield from self._closed(feeder, self._handle(reference, answer))
        for pool in self._pools:
            yield from self._closed(feeder, self._settled(pool.overdue(time.monotonic())))

    def _closed(self, feeder: Feeder, found: Iterator[tuple[Outcome, Ticket | None]]) -> Iterator[Outcome]:
        for outcome, ticket in found:
            if ticket is not None:
                self._open -= 1
                feeder.release(ticket.bytes)
            yield outcome

    def _answers(self, timeout: float) -> list[tuple[Any, Any]]:
        """Return (reference, value or error) of all that has arrived, values first.

        A worker's last answer so comes before its death, which is then blamed on the right piece.
        """
        awaited = [*self._summaries, *self._commits, *(ref for pool in self._pools for ref in pool.awaited())]
        if not awaited:
            return []
        ready, rest = ray.wait(awaited, num_returns=1, timeout=timeout)
        more, _ = ray.wait(rest, num_returns=len(rest), timeout=0) if ready and rest else ([], [])
        answers = [(reference, _answer(reference)) for reference in (*ready, *more)]
        return sorted(answers, key=lambda found: isinstance(found[1], RayError))

    def _handle(self, reference: Any, answer: Any) -> Iterator[tuple[Outcome, Ticket | None]]:
        """Yield what an arrival means, with the ticket that it closes if any."""
        if reference in self._summaries:
            yield from self._queue(reference, answer)
        elif reference in self._commits:
            yield from self._committed(self._commits.pop(reference), answer)
        else:
            for pool in self._pools:
                if pool.awaits(reference):
                    yield from self._settled(self._encoded_by(pool, reference, answer))

    def _queue(self, reference: Any, answer: Any) -> Iterator[tuple[Outcome, Ticket | None]]:
        row, size = self._summaries.pop(reference)
        if isinstance(answer, RayError):
            raise JobFailed(
                f"a unit that was read is lost ({_first_line(answer)}); the same command continues the job"
            )
        ticket = Ticket(row, size, answer, [Share() for _ in self._pools])
        if answer.error is not None:
            yield UnitFailure(answer.unit.name, answer.error), ticket
        else:
            for pool in self._pools:
                pool.add(ticket)

    def _encoded_by(self, pool: Pool, reference: Any, answer: Any) -> Iterator[WorkerLost | Ticket]:
        """Tell a pool what one of its references brought; yield the tickets that this touched."""
        now = time.monotonic()
        if isinstance(answer, RayActorError | OutOfMemoryError):  # Ray's own watch of the memory kills too
            yield from pool.lost(reference, answer)
        elif isinstance(answer, RayTaskError):
            yield pool.failed(reference, _first_line(answer.cause or answer), now)
        elif isinstance(answer, RayError):
            yield from self._again(pool, reference, answer)
        else:
            touched = pool.answered(reference, answer, now)
            if touched is not None:
                self._encoded += answer.tokens
                yield touched

    def _again(self, pool: Pool, reference: Any, error: RayError) -> Iterator[WorkerLost | Ticket]:
        """Try a piece again whose block could not be had at the time."""
        piece = pool.piece(reference)
        piece.ticket.losses += 1
        if piece.ticket.losses <= MAX_LOSSES:
            pool.again(reference, time.monotonic())
        else:
            yield pool.failed(reference, _lost(error), time.monotonic())

    def _settled(self, touched: Iterator[WorkerLost | Ticket]) -> Iterator[tuple[Outcome, Ticket | None]]:
        """Commit the tickets that no model has any more, or report them as failed."""
        for found in touched:
            if isinstance(found, WorkerLost):
                yield found, None
            elif found.done and found.failed is not None:
                yield UnitFailure(found.summary.unit.name, found.failed), found
            elif found.done:
                self._commit(found)

    def _commit(self, ticket: Ticket) -> None:
        split = self._splits[split_key(ticket.summary.unit.name)]
        starts = tuple(tuple(start for start, _ in share.parts) for share in ticket.shares)
        columns = [columns for share in ticket.shares for _, columns in share.parts]
        done = Done(split, starts, ticket.refused, ticket.tokens)
        committer = self._committers[len(self._commits) % len(self._committers)]
        self._commits[committer.commit.remote(ticket.row, done, *columns)] = ticket

    def _committed(self, ticket: Ticket, answer: Any) -> Iterator[tuple[Outcome, Ticket | None]]:
        unit = ticket.summary.unit.name
        if isinstance(answer, Receipt):
            yield answer, ticket
        elif isinstance(answer, RayTaskError):
            yield UnitFailure(unit, _first_line(answer.cause or answer)), ticket
        elif ticket.losses < MAX_LOSSES:  # results were lost with their node: compute them again
            ticket.losses += 1
            ticket.again()
            for pool in self._pools:
                pool.add(ticket)
        else:
            yield UnitFailure(unit, _lost(answer)), ticket

    def _stop(self, feeder: Feeder) -> None:
        """End everything; after an interruption, once what is complete is committed."""
        try:
            self._last_commits()
        finally:
            for actor in (*self._committers, *(actor for pool in self._pools for actor in pool.actors())):
                ray.kill(actor)
            feeder.stop()

    def _last_commits(self) -> None:
        for reference, answer in self._answers(0.0):
            if not isinstance(answer, RayError):
                for _ in self._handle(reference, answer):
                    pass
        if self._commits:
            ray.wait(list(self._commits), num_returns=len(self._commits), timeout=LAST_COMMITS)


def _answer(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except RayTaskError as error:  # a block that could not be had is no fault of the task that asked for it
        return error.cause if isinstance(error.cause, RayError) else error
    except RayError as error:
        return error


def _lost(error: RayError) -> str:
    return f"its data was lost {MAX_LOSSES} times ({_first_line(error)}); the same command tries it again"


def _check_fits(spec: PipelineSpec) -> None:
    """Say before anything starts what this cluster cannot hold; Ray itself would wait for ever."""
    asked = sum(model.pool.workers * model.pool.gpus for model in spec.models)
    there = ray.cluster_resources().get("GPU", 0.0)
    if asked > there:
        raise JobFailed(
            f"the pools ask for {asked:g} GPUs, the cluster has {there:g}; set models[].pool.max_workers or "
            "device: cpu"
        )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
