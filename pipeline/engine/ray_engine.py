"""The record path on Ray: Ray Data reads and tokenizes, a pool per model encodes, committers write."""

from collections.abc import Iterator, Sequence
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from corpusmill.pipeline.engine.feeder import Feeder
from corpusmill.pipeline.engine.outcomes import EngineState, Outcome, UnitFailure
from corpusmill.pipeline.engine.pool import MAX_DEATHS_OF_A_UNIT, Pool, Ticket
from corpusmill.pipeline.engine.source import token_rows
from corpusmill.pipeline.engine.workers import start_committer, start_encoder, summarize
from corpusmill.pipeline.errors import JobFailed
from corpusmill.pipeline.planning import Pending
from corpusmill.pipeline.spec import PipelineSpec

HEARTBEAT = 0.2
"""Seconds between two heartbeats when nothing happens."""
OPEN_UNITS_PER_WORKER = 4
WORKERS_PER_COMMITTER = 16
STORE_SHARE = 0.25
"""Share of the object store that units waiting for an encoder may take; Ray Data's own share comes on top."""


class RayEngine:
    """Runs pending splits through a running Ray cluster."""

    def __init__(self, spec: PipelineSpec) -> None:
        self._spec = spec
        self._encoded = 0
        self._pools: list[Pool] = []
        self._summaries: dict[Any, tuple[Any, int]] = {}
        self._commits: dict[Any, Ticket] = {}
        self._open = 0

    def run(self, pending: Sequence[Pending]) -> Iterator[Outcome]:
        """Process the units; workers start, work and stop inside this iterator."""
        _check_fits(self._spec)
        workers = sum(model.pool.workers for model in self._spec.models)
        self._pools = [Pool(model, start_encoder) for model in self._spec.models]
        committers = [start_committer() for _ in range(1 + workers // WORKERS_PER_COMMITTER)]
        feeder = self._feeder(pending, workers)
        feeder.start()
        try:
            while not (feeder.finished and self._open == 0):
                self._accept(feeder)
                for pool in self._pools:
                    pool.dispatch()
                yield from self._collect(feeder, committers)
                yield None
        finally:
            feeder.stop()
            for actor in (*committers, *(worker for pool in self._pools for worker in pool.actors())):
                ray.kill(actor)

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

    def _collect(self, feeder: Feeder, committers: Sequence[Any]) -> Iterator[Outcome]:
        """Wait for something to finish and act on all that has."""
        awaited = [*self._summaries, *self._commits, *(ref for pool in self._pools for ref in pool.awaited())]
        if not awaited:
            return
        ready, rest = ray.wait(awaited, num_returns=1, timeout=HEARTBEAT)
        more, _ = ray.wait(rest, num_returns=len(rest), timeout=0) if ready and rest else ([], [])
        for reference in (*ready, *more):
            for outcome, ticket in self._handle(reference, committers):
                self._open -= 1
                feeder.release(ticket.bytes)
                yield outcome

    def _handle(self, reference: Any, committers: Sequence[Any]) -> Iterator[tuple[Outcome, Ticket]]:
        if reference in self._summaries:
            yield from self._queue(reference)
        elif reference in self._commits:
            ticket = self._commits.pop(reference)
            yield _get(reference, ticket.summary.unit.name), ticket
        else:
            done = self._encoded_by_a_pool(reference)
            if done is not None and done.failed is not None:
                yield UnitFailure(done.summary.unit.name, done.failed), done
            elif done is not None:
                self._commit(done, committers)

    def _queue(self, reference: Any) -> Iterator[tuple[Outcome, Ticket]]:
        row, size = self._summaries.pop(reference)
        ticket = Ticket(row, size, ray.get(reference), set(range(len(self._pools))))
        if ticket.summary.error is not None:
            yield UnitFailure(ticket.summary.unit.name, ticket.summary.error), ticket
        else:
            for pool in self._pools:
                pool.add(ticket)

    def _encoded_by_a_pool(self, reference: Any) -> Ticket | None:
        """Note a worker's answer; returns the ticket once no model has it any more."""
        for index, pool in enumerate(self._pools):
            if reference not in list(pool.awaited()):
                continue
            try:
                answer = ray.get(reference)
            except RayActorError as error:
                return _without(
                    pool.lost(reference, error),
                    index,
                    f"{_first_line(error)}: this unit ended {MAX_DEATHS_OF_A_UNIT} workers",
                )
            except RayTaskError as error:
                taken = pool.take(reference)
                return _without(taken[1] if taken else None, index, _first_line(error.cause or error))
            taken = pool.take(reference)
            if taken is None:
                pool.started(reference, answer)
                return None
            columns, ticket = taken
            self._encoded += answer.tokens
            ticket.tokens += answer.tokens
            ticket.results[index] = columns
            return _without(ticket, index, None)
        return None

    def _commit(self, ticket: Ticket, committers: Sequence[Any]) -> None:
        results = [ticket.results[index] for index in range(len(self._pools))]
        committer = committers[len(self._commits) % len(committers)]
        self._commits[committer.commit.remote(ticket.row, self._spec.output, ticket.tokens, *results)] = (
            ticket
        )


def _without(ticket: Ticket | None, index: int, failed: str | None) -> Ticket | None:
    """Take a model off a ticket; return it once no model has it, so that a failed unit is reported once."""
    if ticket is None:
        return None
    ticket.waiting.discard(index)
    ticket.failed = ticket.failed or failed
    return None if ticket.waiting else ticket


def _get(reference: Any, unit: str) -> Outcome:
    try:
        return ray.get(reference)  # type: ignore[no-any-return]
    except RayTaskError as error:
        return UnitFailure(unit, _first_line(error.cause or error))
    except RayError as error:
        return UnitFailure(unit, _first_line(error))


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
