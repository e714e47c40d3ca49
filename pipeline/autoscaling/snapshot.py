"""The input of a decision, its result, and the memory for the next one."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PoolSnapshot:
    """One pool at one moment.

    Tokens are counted as the queue counts them. `units` is the number of units that wait or are computed.
    `rate` is that of one worker in tokens per second, None before the first measurement. A start takes
    `startup_seconds`.

    `arrival_rate` is the recent rate of arriving tokens per second, over about a drain time. `feed_rate` is
    the rate that the source could reach with room, None while it is not held back: then the queue shows the
    whole load. `backlog_tokens` are still to arrive. `finished`: no unit will arrive any more.
    """

    queued_tokens: int
    in_flight_tokens: int
    units: int
    running: int
    starting: int
    rate: float | None
    startup_seconds: float
    min_workers: int
    max_workers: int
    arrival_rate: float = 0.0
    feed_rate: float | None = None
    backlog_tokens: float = 0.0
    finished: bool = False


@dataclass(frozen=True, slots=True)
class PolicyMemory:
    """A pool's target, the time of its last growth, and since when fewer workers would have sufficed."""

    target: int
    last_growth: float | None = None
    too_many_since: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The number of workers that a pool should have, including those that start, and the reason."""

    target: int
    reason: str
