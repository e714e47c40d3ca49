"""The decisions for all pools of a job together: what each needs, and how the pools share the room."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from corpusmill.pipeline.autoscaling.policy import Need, decide, need
from corpusmill.pipeline.autoscaling.snapshot import Decision, PolicyMemory, PoolSnapshot
from corpusmill.pipeline.autoscaling.soonest import soonest

SHRINK_SECONDS = 60.0
"""Seconds for which fewer workers have to suffice before a pool shrinks, if there is no drain time."""


@dataclass(frozen=True, slots=True)
class WorkerCost:
    """The cost of one worker of a pool, and the kind of room that it takes ("cpu", "gpu")."""

    kind: str
    cost: float


@dataclass(frozen=True, slots=True)
class PoolDecision:
    """A pool's own decision, the target for which there is room, and the memory for the next decision."""

    decision: Decision
    target: int
    memory: PolicyMemory


def decide_all(
    worker_costs: Sequence[WorkerCost],
    pools: Sequence[PoolSnapshot],
    memories: Sequence[PolicyMemory],
    *,
    room: Mapping[str, float],
    now: float,
    drain_seconds: float | None,
) -> list[PoolDecision]:
    """Return the decision for each pool: the workers that it needs, as far as all pools fit the room.

    Without a drain time the machine is the job's own, and the job has to end as soon as possible.
    """
    asked = asked_for(worker_costs, pools, room=room, drain_seconds=drain_seconds)
    decided = [
        decide(pool, memory, wants, now=now, shrink_after=drain_seconds or SHRINK_SECONDS)
        for pool, memory, wants in zip(pools, memories, asked, strict=True)
    ]
    targets = [decision.target for decision, _ in decided]
    for kind, size in room.items():
        if drain_seconds is None and kind == "cpu":
            continue  # pools share the CPUs of a machine of one's own; `soonest` has counted them
        own = [i for i, worker_cost in enumerate(worker_costs) if worker_cost.kind == kind]
        of_kind = [_PoolDemand(targets[i], asked[i].floor, pools[i], worker_costs[i].cost) for i in own]
        for i, target in zip(own, _share_room(of_kind, size), strict=True):
            targets[i] = target
    return [
        PoolDecision(decision, target, replace(memory, target=target))
        for (decision, memory), target in zip(decided, targets, strict=True)
    ]


def asked_for(
    worker_costs: Sequence[WorkerCost],
    pools: Sequence[PoolSnapshot],
    *,
    room: Mapping[str, float],
    drain_seconds: float | None,
) -> list[Need]:
    """Return what the work of each pool needs: to drain in time, or to end as soon as possible."""
    if drain_seconds is not None:
        return [need(pool, drain_seconds) for pool in pools]
    found: dict[int, Need] = {}
    for kind, size in room.items():
        own = [i for i, worker_cost in enumerate(worker_costs) if worker_cost.kind == kind]
        if own:
            each = soonest([pools[i] for i in own], [worker_costs[i].cost for i in own], size)
            found |= dict(zip(own, each, strict=True))
    return [found[i] for i in range(len(pools))]


# The shares of pools whose demands do not all fit the cluster.


@dataclass(frozen=True, slots=True)
class Claim:
    """The workers that one pool wants, the `least` that it must get, and the room that one worker takes."""

    wanted: int
    least: int
    cost: float


@dataclass(frozen=True, slots=True)
class _PoolDemand:
    """The workers that a pool decided for itself, and how many of them recent arrivals keep busy."""

    wanted: int
    floor: int
    pool: PoolSnapshot
    cost: float

    @property
    def least(self) -> int:
        """The pool's minimum, or one worker: without a worker of each model no unit is finished."""
        return max(1, self.pool.min_workers)

    def claim(self, *, yielding: bool) -> Claim:
        """Return the pool's claim; a drained pool that is `yielding` keeps no idle workers."""
        idle = yielding and self.pool.units == 0
        wanted = min(self.wanted, max(self.least, self.floor)) if idle else self.wanted
        return Claim(wanted, self.least, self.cost)


def _share_room(demands: Sequence[_PoolDemand], size: float) -> tuple[int, ...]:
    """Return the workers that fit the room; if it is too small, idle workers of drained pools give way."""
    granted = share_out([one.claim(yielding=False) for one in demands], size)
    if any(got < one.wanted and one.pool.units for got, one in zip(granted, demands, strict=True)):
        return share_out([one.claim(yielding=True) for one in demands], size)
    return granted


def share_out(claims: Sequence[Claim], room: float) -> tuple[int, ...]:
    """Return the workers of each pool: all that it wants, or its least and an equal share of the rest.

    Each pool's least is granted even if it does not fit: a check before the job refuses that case.
    """
    granted = [min(claim.wanted, claim.least) for claim in claims]
    left = room - sum(count * claim.cost for count, claim in zip(granted, claims, strict=True))
    open_ = {i for i, claim in enumerate(claims) if granted[i] < claim.wanted}
    while open_:
        # The pool with the smallest part of its want is next; ties go to the first.
        i = min(open_, key=lambda i: (granted[i] / claims[i].wanted, i))
        if claims[i].cost > left:
            open_.discard(i)
            continue
        granted[i] += 1
        left -= claims[i].cost
        if granted[i] == claims[i].wanted:
            open_.discard(i)
    return tuple(granted)
