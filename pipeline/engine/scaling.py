"""The policy's hands: tells it how the pools stand, and has them start and let go workers as it says."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from corpusmill.pipeline.autoscaling.meters import FlowMeter
from corpusmill.pipeline.autoscaling.policy import decide
from corpusmill.pipeline.autoscaling.sharing import Claim, share_out
from corpusmill.pipeline.autoscaling.snapshot import Decision, Memory, PoolSnapshot
from corpusmill.pipeline.engine.intake import Intake
from corpusmill.pipeline.engine.outcomes import Scaling
from corpusmill.pipeline.engine.pool import Pool
from corpusmill.pipeline.spec import ModelSpec

TYPICAL = 50.0
"""How many times faster than its `least_rate` a worker is taken to be until it has done a unit."""


@dataclass(frozen=True, slots=True)
class Room:
    """What the pools may take together of a cluster: CPUs and GPUs."""

    cpus: float
    gpus: float


class Scaler:
    """Decides for all pools of a job, which share the room; a drain time is the job's target."""

    def __init__(self, pools: Sequence[Pool], room: Room, drain_seconds: float, now: float) -> None:
        self._pools = pools
        self._room = room
        self._drain = drain_seconds
        self._memory = [Memory(pool.spec.pool.min_workers) for pool in pools]
        self._flows = [FlowMeter(drain_seconds, now) for _ in pools]

    def arrived(self, tokens: Mapping[str, int], now: float) -> None:
        """Note a unit that came."""
        for pool, flow in zip(self._pools, self._flows, strict=True):
            flow.note(now, tokens.get(pool.spec.tokenizer.key, 0))

    def step(self, intake: Intake, now: float, *, blocked_seconds: float) -> Iterator[Scaling]:
        """Decide and act; `blocked_seconds` is how long since the last step the source had no room."""
        for flow in self._flows:
            flow.pass_time(now, blocked_seconds)
        seen = [self._snapshot(i, intake) for i in range(len(self._pools))]
        decided = [
            decide(pool, memory, now=now, drain_seconds=self._drain)
            for pool, memory in zip(seen, self._memory, strict=True)
        ]
        targets = self._shared([decision.target for decision, _ in decided])
        for i, target in enumerate(targets):
            before = self._pools[i].target
            decision, memory = decided[i]
            self._memory[i] = replace(memory, target=target)
            self._pools[i].resize(target)
            if target != before:
                yield self._said(self._pools[i], seen[i], before, target, decision)

    def _shared(self, wanted: Sequence[int]) -> list[int]:
        """Hold the pools to the room, those on CPUs and those on GPUs each among themselves."""
        targets = list(wanted)
        for on_cpu, room in ((True, self._room.cpus), (False, self._room.gpus)):
            kind = [i for i, pool in enumerate(self._pools) if (not pool.spec.pool.gpus) == on_cpu]
            claims = [
                Claim(wanted[i], max(1, self._pools[i].spec.pool.min_workers), cost(self._pools[i].spec))
                for i in kind
            ]
            for i, target in zip(kind, share_out(claims, room + 1e-6), strict=True):
                targets[i] = target
        return targets

    def _snapshot(self, index: int, intake: Intake) -> PoolSnapshot:
        pool, flow = self._pools[index], self._flows[index]
        return PoolSnapshot(
            queued_tokens=pool.queued_tokens,
            in_flight_tokens=pool.in_flight_tokens,
            units=pool.units,
            running=pool.crew.ready,
            starting=pool.crew.starting,
            rate=pool.work.rate or TYPICAL * pool.spec.pool.least_rate,
            startup_seconds=pool.startup.seconds,
            min_workers=pool.spec.pool.min_workers,
            max_workers=pool.spec.pool.workers,
            arrival_rate=flow.arrival_rate,
            feed_rate=flow.feed_rate,
            backlog_tokens=intake.backlog(pool.spec.tokenizer.key),
            finished=intake.finished,
        )

    def _said(self, pool: Pool, seen: PoolSnapshot, before: int, target: int, decision: Decision) -> Scaling:
        reason = decision.reason
        if target < decision.target:
            reason += f"; of {decision.target} workers {target} fit beside the other models"
        return Scaling(
            pool.spec.title,
            before,
            target,
            seen.running,
            seen.starting,
            seen.queued_tokens,
            seen.in_flight_tokens,
            None if pool.work.rate is None else round(pool.work.rate, 1),
            round(seen.startup_seconds, 1),
            reason,
        )


def cost(model: ModelSpec) -> float:
    """Return what a worker takes of the room: its share of a GPU, or its CPUs."""
    return model.pool.gpus or float(model.pool.cpus)


def room_of(models: Sequence[ModelSpec], cpus: float, gpus: float) -> Room:
    """Return what the pools may take: the cluster, or what the largest asks for if its job file says more."""
    largest = max((cost(model) * model.pool.workers for model in models if not model.pool.gpus), default=0.0)
    return Room(max(cpus, largest), gpus)
