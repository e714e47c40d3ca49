"""How many workers the work in front of a pool asks for."""

import math
from dataclasses import dataclass

from corpusmill.pipeline.autoscaling.snapshot import PoolSnapshot

SLACK = 0.1
"""Part of a worker that is not worth one: measured rates are no better than that."""


NOTHING_WAITS = "nothing waits"
NO_RATE = "no unit is done yet, so no rate is known"


@dataclass(frozen=True, slots=True)
class Need:
    """Workers asked for, not yet held to the pool's bounds; `floor` is what recent arrivals keep busy."""

    workers: int
    floor: int
    reason: str


def need(pool: PoolSnapshot, drain_seconds: float) -> Need:
    """Return the workers that drain the queue within the drain time, and keep up with a source held back.

    A worker that is not ready yet helps for less long. Where starts take more than half the drain time, no
    number of workers is in time, and the queue gets twice a start instead. More workers than units would
    have nothing to do.
    """
    if pool.units == 0 and not _waits_for_room(pool):
        return Need(0, _floor(pool), NOTHING_WAITS)
    if pool.rate is None:
        return Need(1, pool.running + pool.starting, NO_RATE)
    seconds = horizon(pool, drain_seconds)
    fed = _fed(pool, seconds)
    asked = _asked(pool, fed, seconds)
    most = pool.units + math.ceil(fed - SLACK)
    return Need(min(_whole(asked), most), _floor(pool), _reason(pool, fed, seconds, capped=asked > most))


def horizon(pool: PoolSnapshot, drain_seconds: float) -> float:
    """Return the seconds in which a queue is to drain: the drain time, or twice a start if that is more."""
    return max(drain_seconds, 2 * pool.startup_seconds)


def _waits_for_room(pool: PoolSnapshot) -> bool:
    return not pool.finished and bool(pool.feed_rate) and pool.backlog_tokens > 0


def _fed(pool: PoolSnapshot, seconds: float) -> float:
    """Workers that the source could keep busy, were it not held back: what it can feed, and still has."""
    if pool.rate is None or not _waits_for_room(pool):
        return 0.0
    return min(pool.feed_rate or 0.0, pool.backlog_tokens / seconds) / pool.rate


def _asked(pool: PoolSnapshot, fed: float, seconds: float) -> float:
    waiting = (pool.queued_tokens + pool.in_flight_tokens) / (pool.rate or 1.0)
    spare = max(pool.running - fed, 0.0)
    if waiting <= spare * seconds:
        return fed + waiting / seconds
    late = (waiting - spare * seconds) / (seconds - pool.startup_seconds)
    return max(float(pool.running), fed) + late


def _floor(pool: PoolSnapshot) -> int:
    """Workers below which a pool would fall behind what has come lately."""
    if pool.rate is None or pool.finished:
        return 0
    return _whole(pool.arrival_rate / pool.rate)


def _whole(workers: float) -> int:
    return max(math.ceil(workers - SLACK), 1 if workers > 0 else 0)


def _reason(pool: PoolSnapshot, fed: float, seconds: float, *, capped: bool) -> str:
    rate = pool.rate or 1.0
    waiting = pool.queued_tokens + pool.in_flight_tokens
    text = f"{waiting:,} tokens wait, at {rate:,.0f} tokens/s a worker, to be done in {seconds:.0f} s"
    if fed:
        text += f", and the source could feed {fed:.1f} more workers"
    return text + (f"; only {pool.units} units are there" if capped else "")
