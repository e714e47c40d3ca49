"""Pools that share a cluster: what each gets where all they want does not fit."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Claim:
    """What one pool wants; `least` of it comes before any other's more, `cost` is one worker's."""

    wanted: int
    least: int
    cost: float


def share_out(claims: Sequence[Claim], room: float) -> tuple[int, ...]:
    """Return how many workers each pool gets: all it wants, or its least and an equal share of its want.

    Each pool's least is granted even where it does not fit: that is for a check before the job to say.
    """
    granted = [min(claim.wanted, claim.least) for claim in claims]
    left = room - sum(count * claim.cost for count, claim in zip(granted, claims, strict=True))
    open_ = {i for i, claim in enumerate(claims) if granted[i] < claim.wanted}
    while open_:
        # The pool that has the smallest part of its want is next; ties go to the first.
        i = min(open_, key=lambda i: (granted[i] / claims[i].wanted, i))
        if claims[i].cost > left:
            open_.discard(i)
            continue
        granted[i] += 1
        left -= claims[i].cost
        if granted[i] == claims[i].wanted:
            open_.discard(i)
    return tuple(granted)
