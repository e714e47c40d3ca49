"""All pools of a job decide together: those of one model share its queue, all share the cluster's room."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from corpusmill.pipeline.autoscaling.division import divide
from corpusmill.pipeline.autoscaling.policy import decide
from corpusmill.pipeline.autoscaling.sharing import Claim, share_out
from corpusmill.pipeline.autoscaling.snapshot import Decision, Memory, PoolSnapshot


@dataclass(frozen=True, slots=True)
class Seat:
    """A pool's place in a job: its model, what its workers take of which kind of room ("cpu", "gpu").

    Of the room its `least` comes before any other's more. Where that is 0 of all pools of a model, one worker
    of the pool that wants most does: without any the model would stand still.
    """

    model: int
    kind: str
    cost: float
    least: int


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
    """Return what becomes of each pool.

    Where a pool gets fewer workers than it wants, the others of its model decide again, on what those few
    leave of the queue.
    """

    def settle(limited: Sequence[PoolSnapshot]) -> list[Settled]:
        parts = _divided(seats, limited, drain_seconds)
        decided = [
            decide(part, memory, now=now, drain_seconds=drain_seconds)
            for part, memory in zip(parts, memories, strict=True)
        ]
        targets = _granted(seats, [decision.target for decision, _ in decided], room)
        return [
            Settled(decision, target, replace(memory, target=target))
            for (decision, memory), target in zip(decided, targets, strict=True)
        ]

    first = settle(pools)
    short = {i for i, found in enumerate(first) if found.target < found.decision.target}
    if not any(_has_others(seats, i) for i in short):
        return first
    limited = [
        replace(pool, max_workers=first[i].target) if i in short and _has_others(seats, i) else pool
        for i, pool in enumerate(pools)
    ]
    second = settle(limited)
    # A pool that was short says what it wanted.
    return [
        replace(found, decision=first[i].decision) if i in short else found for i, found in enumerate(second)
    ]


def _has_others(seats: Sequence[Seat], index: int) -> bool:
    return sum(seat.model == seats[index].model for seat in seats) > 1


def _divided(
    seats: Sequence[Seat], pools: Sequence[PoolSnapshot], drain_seconds: float
) -> list[PoolSnapshot]:
    parts = list(pools)
    for model in dict.fromkeys(seat.model for seat in seats):
        own = [i for i, seat in enumerate(seats) if seat.model == model]
        for i, part in zip(own, divide([pools[i] for i in own], drain_seconds), strict=True):
            parts[i] = part
    return parts


def _granted(seats: Sequence[Seat], wanted: Sequence[int], room: Mapping[str, float]) -> list[int]:
    """Hold the pools to the room, those of each kind among themselves."""
    targets = list(wanted)
    leasts = _leasts(seats, wanted, room)
    for kind, size in room.items():
        own = [i for i, seat in enumerate(seats) if seat.kind == kind]
        claims = [Claim(wanted[i], leasts[i], seats[i].cost) for i in own]
        for i, target in zip(own, share_out(claims, size), strict=True):
            targets[i] = target
    return targets


def _leasts(seats: Sequence[Seat], wanted: Sequence[int], room: Mapping[str, float]) -> list[int]:
    leasts = [seat.least for seat in seats]
    for model in dict.fromkeys(seat.model for seat in seats):
        own = [i for i, seat in enumerate(seats) if seat.model == model]
        if not any(leasts[i] for i in own):
            fitting = [i for i in own if seats[i].cost <= room.get(seats[i].kind, 0.0)] or own
            leasts[max(fitting, key=lambda i: wanted[i])] = 1
    return leasts
