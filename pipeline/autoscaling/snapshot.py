"""What a decision is made from, what it leaves for the next one, and what it says."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PoolSnapshot:
    """One pool at one moment.

    Tokens are counted as its queue counts them. `units` wait or are being worked at. `rate` is what
    one worker does in tokens per second, None before anything is measured; `startup_seconds` what a start
    takes.

    From upstream: `arrival_rate` is what came lately, in tokens per second over about a drain time.
    `feed_rate` is what could come if there were room, and None while nothing holds the source back: then the
    queue itself shows the whole load. `backlog_tokens` are still to come. `finished`: nothing is.
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
    """What a pool's next decision has to know: its target, when it last grew, since when less would do."""

    target: int
    last_growth: float | None = None
    too_many_since: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """How many workers a pool should have, those starting included, and why."""

    target: int
    reason: str
