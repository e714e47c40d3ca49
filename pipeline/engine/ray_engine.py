"""The record path on Ray: Ray Data reads and tokenizes, a pool per model encodes, committers write."""

import time
from collections.abc import Generator, Sequence
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError

from corpusmill.pipeline.blocks import UnitSummary
from corpusmill.pipeline.engine.committers import Committed, Committers
from corpusmill.pipeline.engine.faults import HangTimeout
from corpusmill.pipeline.engine.feeder import Feeder, Intake
from corpusmill.pipeline.engine.messages import EngineState, Gauges, Outcome, UnitFailure
from corpusmill.pipeline.engine.placement import check_fits
from corpusmill.pipeline.engine.pool import Pool, PoolLinks
from corpusmill.pipeline.engine.ray_calls import (
    Answer,
    AnsweredCall,
    CommitCall,
    EncodeCall,
    FailedCall,
    RayCalls,
    StartCall,
    SummarizeCall,
)
from corpusmill.pipeline.engine.scaling import Scaler, cluster_room
from corpusmill.pipeline.engine.shared_folders import SharedFolders
from corpusmill.pipeline.engine.source import unit_feeder
from corpusmill.pipeline.engine.stage_times import StageTimes, UnitClock
from corpusmill.pipeline.engine.work import OpenUnit, UnitResult, WorkItem
from corpusmill.pipeline.engine.workers import start_encoder, summarize
from corpusmill.pipeline.errors import JobFailed, first_line
from corpusmill.pipeline.input.planning import Pending
from corpusmill.pipeline.spec import PipelineSpec

HANG_CHECK = 1.0
"""Seconds between two checks for workers that hang."""
HEARTBEAT = 0.2
"""Seconds between two heartbeats when nothing happens."""
HANG_TIMEOUT = HangTimeout()
MAX_LOSSES = 3
"""Number of times that a unit whose objects were lost with their node is tried again."""
BLOCKS_PER_SUMMARY = 64
"""Largest number of blocks that one task summarizes."""
LAST_COMMITS_SECONDS = 4.0
"""Seconds for which a run that stops waits for the commits under way."""


class RayEngine:
    """An engine that runs pending splits on a Ray cluster."""

    def __init__(self, spec: PipelineSpec) -> None:
        self._spec = spec
        self._calls = RayCalls()
        self._pools: list[Pool] = []
        self._clock = UnitClock()
        self._intake = Intake(0)
        self._gauges = Gauges()
        self._blocks: list[tuple[Any, int]] = []
        self._open_units = 0
        self._outcomes: list[Outcome] = []
        self._began_at = self._checked_at = self._blocked_seconds = 0.0

    def run(self, pending: Sequence[Pending]) -> Generator[Outcome, None, None]:
        """Read, tokenize, encode, commit: this loop is the record path; the work happens in tasks and actors.

        The workers exist only while this iterator runs.
        """
        self._prepare(pending)
        try:
            yield from self._folders.check_all()
            self._start()
            while not (self._feeder.finished and self._open_units == 0):
                self._take_blocks()
                self._scale_pools()
                self._dispatch_work_items()
                yield from self._new_outcomes()
                for answer in self._calls.answers(HEARTBEAT):
                    self._handle(answer)
                    yield from self._new_outcomes()
                self._check_workers_and_nodes()
                yield from self._new_outcomes()
                yield None
        except JobFailed:
            yield from self._new_outcomes()
            self._folders.check_all_now()  # if a node lacks the files, that is the cause to report
            raise
        finally:
            self._stop()

    def state(self) -> EngineState:
        """Return the state of the pools, the tokens encoded, and the rows read."""
        pools = tuple(pool.state(self._intake) for pool in self._pools)
        tokens = sum(pool.tokens for pool in pools)
        return self._gauges.publish(EngineState(pools, tokens, self._intake.rows))

    def times(self) -> tuple[StageTimes, ...]:
        """Return the times of every stage: what tasks and workers reported, and the waits in between."""
        return self._clock.times([pool.clock.times() for pool in self._pools], self._blocked_seconds)

    @property
    def worker_seconds(self) -> float:
        """The seconds of all encoders, from their request to their end."""
        return sum(pool.clock.worker_seconds for pool in self._pools)

    # The steps of the loop.

    def _prepare(self, pending: Sequence[Pending]) -> None:
        there = ray.cluster_resources()
        cpus, gpus = there.get("CPU", 1.0), there.get("GPU", 0.0)
        check_fits(self._spec.models, cpus=cpus, gpus=gpus)
        self._room = cluster_room(self._spec.models, cpus, gpus, own=self._spec.drain_seconds is None)
        self._began_at = time.monotonic()
        self._intake = Intake(sum(each.rows for each in pending))
        splits = [each.split for each in pending]
        self._committers = Committers(self._spec.input, self._spec.output, splits, self._calls)
        self._folders = SharedFolders(self._spec, pending)
        self._feeder: Feeder = unit_feeder(pending, self._spec)

    def _start(self) -> None:
        """Start the smallest pools, and start to pull units from Ray Data."""
        links = PoolLinks(start_encoder, self._calls, self._outcomes.append, HANG_TIMEOUT)
        self._pools = [Pool(i, model, links, self._began_at) for i, model in enumerate(self._spec.models)]
        self._scaler = Scaler(self._pools, self._room, self._spec.drain_seconds, self._began_at)
        self._feeder.start()

    def _take_blocks(self) -> None:
        """Take new blocks from the feeder, and start a task that summarizes them."""
        try:
            arrived = self._feeder.arrived(timeout=HEARTBEAT if self._open_units == 0 else 0.0)
        except RayError as error:
            raise JobFailed(
                f"reading or tokenizing failed ({first_line(error)}); run again with --debug to see more"
            ) from error
        self._open_units += len(arrived)
        self._blocks += arrived
        # One task at a time: the tasks claim no CPU, so Ray would start a process for each task that waits.
        if self._blocks and not self._calls.under_way(SummarizeCall):
            some, self._blocks = self._blocks[:BLOCKS_PER_SUMMARY], self._blocks[BLOCKS_PER_SUMMARY:]
            self._calls.expect(summarize.remote(*(block for block, _ in some)), SummarizeCall(tuple(some)))

    def _scale_pools(self) -> None:
        """Note the state of all pools, and resize them to their queues."""
        now, blocked = time.monotonic(), self._feeder.blocked_seconds()
        held_back = self._feeder.blocked
        for pool in self._pools:
            pool.pass_time(now, blocked=held_back)
        unread = not self._feeder.finished or self._blocks or self._calls.under_way(SummarizeCall)
        self._intake.finished = not unread
        self._outcomes += self._scaler.step(
            self._intake, now, blocked_seconds=blocked - self._blocked_seconds
        )
        self._blocked_seconds = blocked
        self._committers.serve(sum(pool.target for pool in self._pools))

    def _dispatch_work_items(self) -> None:
        for pool in self._pools:
            pool.dispatch(time.monotonic())

    def _check_workers_and_nodes(self) -> None:
        """Replace workers that hang, and check the nodes that have joined."""
        now = time.monotonic()
        if now - self._checked_at >= HANG_CHECK:
            self._checked_at = now
            self._folders.check_joined(now)
            for pool in self._pools:
                for worker, death in pool.hanging(now):
                    self._finish_if_complete(pool.replace(worker, death))

    def _new_outcomes(self) -> Generator[Outcome, None, None]:
        """Yield the outcomes that are new since the last call."""
        while self._outcomes:
            yield self._outcomes.pop(0)

    def _handle(self, answer: Answer) -> None:
        """Act on the answer to a call."""
        now = time.monotonic()
        match answer:
            case AnsweredCall(SummarizeCall(blocks), summaries):
                self._queue_units(blocks, summaries, now)
            case AnsweredCall(StartCall(model, worker), ready):
                self._pools[model].started(worker, ready, now)
            case AnsweredCall(EncodeCall(model) as call, stats):
                self._pools[model].encoded(call, stats, now)
                self._finish_if_complete(call.item)
            case AnsweredCall(CommitCall(unit), committed):
                self._committed(unit, committed)
            case FailedCall(SummarizeCall(), error):
                raise JobFailed(_block_lost(error))
            case FailedCall(StartCall(model, worker), error):
                self._pools[model].died(worker, error)
            case FailedCall(EncodeCall(model, worker), RayActorError() | OutOfMemoryError() as error):
                self._finish_if_complete(self._pools[model].died(worker, error))
            case FailedCall(EncodeCall() as call, RayTaskError() as error):
                self._give_up(call, _cause(error), now)
            case FailedCall(EncodeCall() as call, error):
                self._retry_item(call, error, now)
            case FailedCall(CommitCall(unit), RayTaskError() as error):
                self._fail(unit, _cause(error))
            case FailedCall(CommitCall(unit), error):
                self._encode_unit_again(unit, error)

    # The steps of a unit.

    def _queue_units(
        self, blocks: Sequence[tuple[Any, int]], summaries: Sequence[UnitSummary], now: float
    ) -> None:
        """Put the units of summarized blocks into every pool's queue."""
        for (block, size), summary in zip(blocks, summaries, strict=True):
            unit = OpenUnit(block, size, summary, [UnitResult() for _ in self._pools])
            self._clock.unit_arrived(summary.seconds, sum(summary.tokens.values()), now - self._began_at)
            self._intake.note(summary.rows + summary.rejected, summary.tokens)
            self._scaler.arrived(summary.tokens, now)
            if summary.error is not None:
                self._fail(unit, summary.error)
                continue
            for pool in self._pools:
                pool.queue.add(unit)

    def _give_up(self, call: EncodeCall, reason: str, now: float) -> None:
        self._pools[call.model].give_up(call, reason, now)
        self._finish_if_complete(call.item)

    def _retry_item(self, call: EncodeCall, error: RayError, now: float) -> None:
        """Try a work item again whose block could not be fetched; after MAX_LOSSES give its unit up."""
        call.item.unit.losses += 1
        if call.item.unit.losses <= MAX_LOSSES:
            self._pools[call.model].try_again(call, now)
        else:
            self._give_up(call, _data_lost(error), now)

    def _finish_if_complete(self, item: WorkItem | None) -> None:
        """Commit a unit, or fail it, once no model has an open work item of it."""
        if item is None or not item.unit.done:
            return
        if item.unit.failed is not None:
            self._fail(item.unit, item.unit.failed)
        else:
            self._committers.commit(item.unit)

    def _committed(self, unit: OpenUnit, committed: Committed) -> None:
        self._folders.confirm_commit(unit.name, committed.node)
        self._clock.add("commit", committed.seconds)
        self._close(unit, committed.receipt)

    def _encode_unit_again(self, unit: OpenUnit, error: RayError) -> None:
        """Encode a unit again whose results were lost with their node; after MAX_LOSSES fail it."""
        if unit.losses >= MAX_LOSSES:
            self._fail(unit, _data_lost(error))
            return
        unit.losses += 1
        unit.start_again()
        for pool in self._pools:
            pool.queue.add(unit)

    def _fail(self, unit: OpenUnit, reason: str) -> None:
        self._folders.check_all_now()  # if a node lacks the files, that is the cause to report
        self._close(unit, UnitFailure(unit.name, reason))

    def _close(self, unit: OpenUnit, outcome: Outcome) -> None:
        """Report the outcome of a unit, and make room for another."""
        self._open_units -= 1
        self._feeder.release(unit.bytes)
        self._outcomes.append(outcome)

    # The end.

    def _stop(self) -> None:
        """End all actors, the feeder and the check of folders; wait for the commits under way first."""
        self._folders.close()
        try:
            for answer in self._calls.answers(0.0):
                if isinstance(answer, AnsweredCall):
                    self._handle(answer)
            self._calls.wait_for(CommitCall, LAST_COMMITS_SECONDS)
        finally:
            for actor in (*self._committers.actors, *(one for pool in self._pools for one in pool.actors())):
                ray.kill(actor)
            self._feeder.stop()


def _cause(error: RayTaskError) -> str:
    return first_line(error.cause or error)


def _block_lost(error: RayError) -> str:
    return f"a unit that was read is lost ({first_line(error)}); the same command continues the job"


def _data_lost(error: RayError) -> str:
    return f"its data was lost {MAX_LOSSES} times ({first_line(error)}); the same command tries it again"
