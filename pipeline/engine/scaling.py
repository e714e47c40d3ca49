"""The link of the autoscaling policy and the pools: snapshots for its decisions, then new sizes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from corpusmill.pipeline.autoscaling.meters import FlowMeter
from corpusmill.pipeline.autoscaling.snapshot import PolicyMemory, PoolSnapshot
from corpusmill.pipeline.autoscaling.together import SHRINK_SECONDS, PoolDecision, WorkerCost, decide_all
from corpusmill.pipeline.engine.feeder import Intake
from corpusmill.pipeline.engine.messages import Scaling
from corpusmill.pipeline.engine.placement import worker_cost
from corpusmill.pipeline.engine.pool import Pool
from corpusmill.pipeline.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Room:
    """The CPUs and GPUs of a cluster that the pools may use together."""

    cpus: float
    gpus: float


class Scaler:
    """The scaling of all pools of a job, which share the room.

    `drain_seconds` is the job's target on a shared cluster; None if the machine is the job's own.
    """

    def __init__(self, pools: Sequence[Pool], room: Room, drain_seconds: float | None, now: float) -> None:
        self._pools = pools
        self._costs = [
            WorkerCost("gpu" if pool.spec.pool.gpus else "cpu", worker_cost(pool.spec)) for pool in pools
        ]
        self._room = {"cpu": room.cpus + 1e-6, "gpu": room.gpus + 1e-6}
        self._drain = drain_seconds
        self._memory = [PolicyMemory(pool.spec.pool.min_workers) for pool in self._pools]
        self._flows = [FlowMeter(drain_seconds or SHRINK_SECONDS, now) for _ in self._pools]

    def arrived(self, tokens: Mapping[str, int], now: float) -> None:
        """Note a unit that arrived."""
        for pool, flow in zip(self._pools, self._flows, strict=True):
            flow.note(now, tokens.get(pool.spec.tokenizer.key, 0))

    def step(self, intake: Intake, now: float, *, blocked_seconds: float) -> list[Scaling]:
        """Resize the pools, and return the changes.

        `blocked_seconds` are those since the last step in which the source had no room.
        """
        for flow in self._flows:
            flow.pass_time(now, blocked_seconds)
        snapshots = [self._snapshot(i, intake, now) for i in range(len(self._pools))]
        decided = decide_all(
            self._costs, snapshots, self._memory, room=self._room, now=now, drain_seconds=self._drain
        )
        self._memory = [found.memory for found in decided]
        changes = []
        for pool, snapshot, found in zip(self._pools, snapshots, decided, strict=True):
            before = pool.target
            pool.resize(found.target)
            if found.target != before:
                changes.append(_scaling_event(pool, snapshot, before, found))
        return changes

    def _snapshot(self, index: int, intake: Intake, now: float) -> PoolSnapshot:
        pool, flow = self._pools[index], self._flows[index]
        return PoolSnapshot(
            queued_tokens=pool.queue.tokens,
            in_flight_tokens=pool.workers.in_flight_tokens,
            units=len(pool.queue) + pool.workers.in_flight_items,
            running=pool.workers.ready,
            starting=pool.workers.starting,
            # The drain time needs a rate from the beginning; the price of a start needs a measured one.
            rate=pool.rate if self._drain is not None else pool.work.rate or pool.fastest_possible(now),
            startup_seconds=pool.startup.seconds,
            min_workers=pool.spec.pool.min_workers,
            max_workers=pool.spec.pool.workers,
            arrival_rate=flow.arrival_rate,
            feed_rate=flow.feed_rate,
            backlog_tokens=intake.backlog_tokens(pool.spec.tokenizer.key),
            finished=intake.finished,
        )


def _scaling_event(pool: Pool, snapshot: PoolSnapshot, before: int, found: PoolDecision) -> Scaling:
    decision = found.decision
    reason = decision.reason
    if found.target < decision.target:
        reason += f"; of {decision.target} workers {found.target} fit beside the other pools"
    return Scaling(
        pool.spec.title,
        before,
        found.target,
        snapshot.running,
        snapshot.starting,
        snapshot.queued_tokens,
        snapshot.in_flight_tokens,
        None if pool.work.rate is None else round(pool.work.rate, 1),
        round(snapshot.startup_seconds, 1),
        reason,
    )


def cluster_room(models: Sequence[ModelSpec], cpus: float, gpus: float, *, own: bool) -> Room:
    """Return the CPUs and GPUs that the pools may use.

    On the job's `own` machine these are all. On a cluster these are the CPUs that reading leaves, or those of
    the largest pool if they are more: workers that wait make an autoscaling cluster add nodes.
    """
    if own:
        return Room(cpus, gpus)
    reading = 1 if any(model.pool.claimed_cpus for model in models) else 0
    largest = max(
        (worker_cost(model) * model.pool.workers for model in models if not model.pool.gpus), default=0.0
    )
    return Room(max(cpus - reading, largest), gpus)
