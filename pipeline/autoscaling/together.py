"""All pools of a job decide together: each for itself, then all share the cluster's room."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from corpusmill.pipeline.autoscaling.policy import decide
from corpusmill.pipeline.autoscaling.sharing import Claim, share_out
from corpusmill.pipeline.autoscaling.snapshot import Decision, Memory, PoolSnapshot


@dataclass(frozen=True, slots=True)
class Seat:
    """What one worker of a pool takes, of which kind of room ("cpu", "gpu")."""

    kind: str
    cost: float


@dataclass(frozen=True, slots=True)
class Settled:
    """A pool's target: what it decided for itself, what of that there is room for, what to remember."""

    decision: Decision
    target: int
    memory: Memory


def decide_all(
    seats: Sequence[Seat],
    pools: Sequence[PoolSnapshot],
    memories: Sequence[Memory],
    *,
    room: Mapping[str, float],
    now: float,
    drain_seconds: float,
) -> list[Settled]:
    """Return what becomes of each pool: what it wants, as far as there is room beside the others."""
    decided = [
        decide(pool, memory, now=now, drain_seconds=drain_seconds)
        for pool, memory in zip(pools, memories, strict=True)
    ]
    targets = _granted(seats, pools, [decision.target for decision, _ in decided], room)
    return [
        Settled(decision, target, replace(memory, target=target))
        for (decision, memory), target in zip(decided, targets, strict=True)
    ]


def _granted(
    seats: Sequence[Seat], pools: Sequence[PoolSnapshot], wanted: Sequence[int], room: Mapping[str, float]
) -> list[int]:
    """Hold the pools to the room, those of each kind among themselves.

    Of every pool its minimum, or one worker, comes before any other's more: without any, its model would
    stand still, and every unit goes through all models.
    """
    targets = list(wanted)
    for kind, size in room.items():
        own = [i for i, seat in enumerate(seats) if seat.kind == kind]
        claims = [Claim(wanted[i], max(1, pools[i].min_workers), seats[i].cost) for i in own]
        for i, target in zip(own, share_out(claims, size), strict=True):
            targets[i] = target
    return targets
