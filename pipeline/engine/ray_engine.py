"""The record path on Ray: Ray Data reads and tokenizes, a pool per model encodes, committers write."""

import time
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError

from corpusmill.pipeline.engine.committers import Committers
from corpusmill.pipeline.engine.faults import Patience
from corpusmill.pipeline.engine.feeder import Feeder, Intake
from corpusmill.pipeline.engine.messages import EngineState, Gauges, Outcome, UnitFailure
from corpusmill.pipeline.engine.placement import check_fits
from corpusmill.pipeline.engine.pool import Pool, Touched
from corpusmill.pipeline.engine.ray_calls import answers
from corpusmill.pipeline.engine.scaling import Scaler, room_of
from corpusmill.pipeline.engine.shared_folders import SharedFolders
from corpusmill.pipeline.engine.source import supply
from corpusmill.pipeline.engine.stage_times import StageTimes, UnitClock
from corpusmill.pipeline.engine.work import Share, Ticket
from corpusmill.pipeline.engine.workers import Written, start_encoder, summarize
from corpusmill.pipeline.errors import JobFailed, first_line
from corpusmill.pipeline.input.planning import Pending
from corpusmill.pipeline.spec import PipelineSpec

LOOK = 1.0
"""Seconds between two looks for workers that hang."""
HEARTBEAT = 0.2
"""Seconds between two heartbeats when nothing happens."""
PATIENCE = Patience()
MAX_LOSSES = 3
"""How often a unit is tried again whose objects were lost with their node."""
SUMMARIES = 64
"""Units summed up by one task at most."""
LAST_COMMITS = 4.0
"""Seconds that the end of a stopped run waits for commits under way."""


class RayEngine:
    """Runs pending splits through a running Ray cluster."""

    def __init__(self, spec: PipelineSpec) -> None:
        self._spec = spec
        self._pools: list[Pool] = []
        self._committers = Committers(spec.input, spec.output, ())
        self._folders = SharedFolders(spec, ())
        self._arrived: list[tuple[Any, int]] = []
        self._summaries: dict[Any, list[tuple[Any, int]]] = {}
        self._open = 0
        self._clock = UnitClock()
        self._intake = Intake(0)
        self._began = self._looked = self._blocked = 0.0
        self._gauges = Gauges()

    def run(self, pending: Sequence[Pending]) -> Generator[Outcome, None, None]:
        """Process the units; workers start, work and stop inside this iterator."""
        there = ray.cluster_resources()
        cpus, gpus = there.get("CPU", 1.0), there.get("GPU", 0.0)
        check_fits(self._spec.models, cpus=cpus, gpus=gpus)
        self._began = time.monotonic()
        self._intake = Intake(sum(each.rows for each in pending))
        splits = [each.split for each in pending]
        self._committers = Committers(self._spec.input, self._spec.output, splits)
        self._folders = SharedFolders(self._spec, pending)
        feeder = supply(pending, self._spec)
        try:
            yield from self._folders.check()
            self._pools = [
                Pool(index, model, start_encoder, PATIENCE, self._began)
                for index, model in enumerate(self._spec.models)
            ]
            drain = self._spec.drain_seconds
            room = room_of(self._spec.models, cpus, gpus, own=drain is None)
            scaler = Scaler(self._pools, room, drain, self._began)
            feeder.start()
            while not (feeder.finished and self._open == 0):
                self._accept(feeder)
                yield from self._scale(scaler, feeder)
                for pool in self._pools:
                    pool.dispatch(time.monotonic())
                yield from self._collect(feeder, scaler)
                yield None
        except JobFailed:
            self._folders.settle()  # a node that lacks the files is the better reason
            raise
        finally:
            self._stop(feeder)

    def state(self) -> EngineState:
        """Return the pools as they are, and the tokens encoded."""
        pools = tuple(pool.state(self._intake) for pool in self._pools)
        tokens = sum(pool.tokens for pool in pools)
        return self._gauges.shown(EngineState(pools, tokens, self._intake.rows))

    def times(self) -> tuple[StageTimes, ...]:
        """Return what every stage's tasks and workers reported, and how they stood meanwhile."""
        return self._clock.times([pool.clock.times() for pool in self._pools], self._blocked)

    @property
    def worker_seconds(self) -> float:
        """Seconds of all encoders, from being asked for until gone."""
        return sum(pool.clock.worker_seconds for pool in self._pools)

    def _accept(self, feeder: Feeder) -> None:
        """Take new units from the feeder; their summaries tell what to queue."""
        try:
            arrived = feeder.arrived(timeout=HEARTBEAT if self._open == 0 else 0.0)
        except RayError as error:
            raise JobFailed(
                f"reading or tokenizing failed ({first_line(error)}); run again with --debug to see more"
            ) from error
        self._open += len(arrived)
        self._arrived += arrived
        # One task at a time: as they count no CPU, Ray would start a process for each that waits.
        if self._arrived and not self._summaries:
            some, self._arrived = self._arrived[:SUMMARIES], self._arrived[SUMMARIES:]
            self._summaries[summarize.remote(*(row for row, _ in some))] = some

    def _scale(self, scaler: Scaler, feeder: Feeder) -> Iterator[Outcome]:
        """Note how all stand, and have the pools follow their queues."""
        now, blocked = time.monotonic(), feeder.blocked_seconds()
        held_back = feeder.blocked
        for pool in self._pools:
            pool.pass_time(now, blocked=held_back)
        self._intake.finished = feeder.finished and not (self._arrived or self._summaries)
        yield from scaler.step(self._intake, now, blocked_seconds=blocked - self._blocked)
        self._blocked = blocked
        self._committers.serve(sum(pool.target for pool in self._pools))

    def _collect(self, feeder: Feeder, scaler: Scaler) -> Iterator[Outcome]:
        """Wait for something to finish and act on all that has."""
        for reference, answer in self._answers(HEARTBEAT):
            yield from self._closed(feeder, self._handle(reference, answer, scaler))
        now = time.monotonic()
        if now - self._looked >= LOOK:
            self._looked = now
            self._folders.look(now)
            for pool in self._pools:
                yield from self._closed(feeder, self._settled(pool.overdue(now)))

    def _closed(self, feeder: Feeder, found: Iterator[tuple[Outcome, Ticket | None]]) -> Iterator[Outcome]:
        for outcome, ticket in found:
            if isinstance(outcome, UnitFailure):
                self._folders.settle()
            if ticket is not None:
                self._open -= 1
                feeder.release(ticket.bytes)
            yield outcome

    def _answers(self, timeout: float) -> list[tuple[Any, Any]]:
        of_pools = (reference for pool in self._pools for reference in pool.awaited())
        return answers([*self._summaries, *self._committers.commits, *of_pools], timeout)

    def _handle(
        self, reference: Any, answer: Any, scaler: Scaler | None = None
    ) -> Iterator[tuple[Outcome, Ticket | None]]:
        """Yield what an arrival means, with the ticket that it closes if any."""
        if reference in self._summaries:
            yield from self._queue(reference, answer, scaler)
        elif reference in self._committers.commits:
            yield from self._committed(self._committers.commits.pop(reference), answer)
        else:
            for pool in self._pools:
                if pool.awaits(reference):
                    yield from self._settled(self._encoded_by(pool, reference, answer))

    def _queue(
        self, reference: Any, answer: Any, scaler: Scaler | None
    ) -> Iterator[tuple[Outcome, Ticket | None]]:
        rows = self._summaries.pop(reference)
        if isinstance(answer, RayError):
            raise JobFailed(
                f"a unit that was read is lost ({first_line(answer)}); the same command continues the job"
            )
        now = time.monotonic()
        for (row, size), summary in zip(rows, answer, strict=True):
            ticket = Ticket(row, size, summary, [Share() for _ in self._pools])
            self._clock.came(summary.seconds, sum(summary.tokens.values()), now - self._began)
            self._intake.note(summary.rows + summary.rejected, summary.tokens)
            if scaler is not None:
                scaler.arrived(summary.tokens, now)
            if summary.error is not None:
                yield UnitFailure(summary.unit.name, summary.error), ticket
                continue
            for pool in self._pools:
                pool.queue.add(ticket)

    def _encoded_by(self, pool: Pool, reference: Any, answer: Any) -> Iterator[Touched]:
        """Tell a pool what one of its references brought; yield what to tell, and the tickets it touched."""
        now = time.monotonic()
        if isinstance(answer, RayActorError | OutOfMemoryError):  # Ray's own watch of the memory kills too
            yield from pool.lost(reference, answer)
        elif isinstance(answer, RayTaskError):
            yield pool.failed(reference, first_line(answer.cause or answer), now)
        elif isinstance(answer, RayError):
            yield from self._again(pool, reference, answer)
        else:
            yield from pool.answered(reference, answer, now)

    def _again(self, pool: Pool, reference: Any, error: RayError) -> Iterator[Touched]:
        """Try a piece again whose block could not be had at the time."""
        piece = pool.piece(reference)
        piece.ticket.losses += 1
        if piece.ticket.losses <= MAX_LOSSES:
            pool.again(reference, time.monotonic())
        else:
            yield pool.failed(reference, _lost(error), time.monotonic())

    def _settled(self, touched: Iterator[Touched]) -> Iterator[tuple[Outcome, Ticket | None]]:
        """Commit the tickets that no model has any more, or report them as failed."""
        for found in touched:
            if not isinstance(found, Ticket):
                yield found, None
            elif found.done and found.failed is not None:
                yield UnitFailure(found.summary.unit.name, found.failed), found
            elif found.done:
                self._committers.commit(found)

    def _committed(self, ticket: Ticket, answer: Any) -> Iterator[tuple[Outcome, Ticket | None]]:
        unit = ticket.summary.unit.name
        if isinstance(answer, Written):
            self._folders.confirm(unit, answer.node)
            self._clock.spent("commit", answer.seconds)
            yield answer.receipt, ticket
        elif isinstance(answer, RayTaskError):
            yield UnitFailure(unit, first_line(answer.cause or answer)), ticket
        elif ticket.losses < MAX_LOSSES:  # results were lost with their node: compute them again
            ticket.losses += 1
            ticket.again()
            for pool in self._pools:
                pool.queue.add(ticket)
        else:
            yield UnitFailure(unit, _lost(answer)), ticket

    def _stop(self, feeder: Feeder) -> None:
        """End everything; after an interruption, once what is complete is committed."""
        self._folders.close()
        try:
            self._last_commits()
        finally:
            for actor in (
                *self._committers.actors,
                *(actor for pool in self._pools for actor in pool.actors()),
            ):
                ray.kill(actor)
            feeder.stop()

    def _last_commits(self) -> None:
        for reference, answer in self._answers(0.0):
            if not isinstance(answer, RayError):
                for _ in self._handle(reference, answer):
                    pass
        self._committers.finish(LAST_COMMITS)


def _lost(error: RayError) -> str:
    return f"its data was lost {MAX_LOSSES} times ({first_line(error)}); the same command tries it again"
