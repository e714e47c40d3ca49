"""Which pool of a model gets its queue's next piece, if any: no worker gets one it would be late with."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hands:
    """A pool's workers at one moment: those ready, those that will soon be, and the tokens that they hold.

    `rate` is one's tokens per second, `startup` the seconds of a start. `free` are the tokens at the worker
    that would get the next piece; None where none has room.
    """

    rate: float
    ready: int
    starting: int
    startup: float
    held: float
    free: float | None


def taker(piece: float, waiting: float, pools: Sequence[Hands]) -> int | None:
    """Return the pool that is to take the next piece, or None where it had better wait.

    Of the workers with room the one that would be done with it first; but none that would be done with it
    only after the other pools had done all of the `waiting` tokens, this piece and those to come included. So
    at the end no unit is waited for that the others would have done sooner.
    """
    offers = [(i, (pool.free + piece) / pool.rate) for i, pool in enumerate(pools) if pool.free is not None]
    for i, done in sorted(offers, key=lambda offer: offer[1]):
        if done <= _seconds([pool for j, pool in enumerate(pools) if j != i], piece, waiting):
            return i
    return None


def _seconds(pools: Sequence[Hands], piece: float, waiting: float) -> float:
    """Return how long pools take for what waits and what they hold, at least as long as one for the piece.

    For ever, if nobody works or starts.
    """
    left = waiting + sum(pool.held for pool in pools)
    working = [(pool.ready, pool.rate) for pool in pools if pool.ready]
    begin = 0.0
    if not working:
        working = [(pool.starting, pool.rate) for pool in pools if pool.starting]
        begin = min((pool.startup for pool in pools if pool.starting), default=0.0)
    if not working:
        return float("inf")
    return begin + max(
        left / sum(count * rate for count, rate in working), piece / max(rate for _, rate in working)
    )
