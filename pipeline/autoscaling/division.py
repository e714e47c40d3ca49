"""What waits for a model, divided over the pools that serve it: each then decides on its part."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from corpusmill.pipeline.autoscaling.need import SLACK, horizon
from corpusmill.pipeline.autoscaling.snapshot import PoolSnapshot

FASTER = 1.25
"""Times by which a pool's workers must be faster to come before one that the job names earlier."""


@dataclass(frozen=True, slots=True)
class Vessel:
    """What a pool can take: with its minimum alone, with all it may have, with those sure to come.

    `spare` is its weight where there is more than all can take.
    """

    least: float
    most: float
    sure: float
    spare: float


def divide(pools: Sequence[PoolSnapshot], drain_seconds: float) -> tuple[PoolSnapshot, ...]:
    """Return each pool with its part of the queue that all of them see whole, and of what is to come.

    Minima come first, as they work anyway; then the fastest pool, up to what it drains in the drain time at
    its largest; then the next, unless what is left is less than rates are exact. What all cannot drain in
    time is divided in proportion to what each can. A pool that would be at a single unit when the faster ones
    have done everything has its minimum alone. One without a rate is taken to drain everything, once its
    first unit has shown how fast it is.
    """
    if len(pools) == 1:
        return tuple(pools)
    order = fastest_first([pool.rate for pool in pools])
    horizons = [horizon(pool, drain_seconds) for pool in pools]
    limited = _helping(pools, order)
    arriving = pools[0].arrival_rate
    arrivals = pour(arriving, [_flow(pool, arriving) for pool in limited], order)
    feeding = min(pools[0].feed_rate or 0.0, pools[0].backlog_tokens / horizons[order[0]])
    feeds = pour(feeding, [_flow(pool, feeding) for pool in limited], order)
    queued = pools[0].queued_tokens
    vessels = [_tokens(pool, h, feed, queued) for pool, h, feed in zip(limited, horizons, feeds, strict=True)]
    parts = pour(queued, vessels, order)
    return tuple(
        _part(pool, tokens, arrival, feed, h)
        for pool, tokens, arrival, feed, h in zip(pools, parts, arrivals, feeds, horizons, strict=True)
    )


def fastest_first(rates: Sequence[float | None]) -> list[int]:
    """Return the pools' places in order of their workers' rates: unknown ones first, near ones as given.

    Rates that are measured differ a little from one look to the next; an order that followed them would have
    two like pools take turns in growing.
    """
    order: list[int] = []
    for i, rate in enumerate(rates):
        at = next((n for n, j in enumerate(order) if _beats(rate, rates[j])), len(order))
        order.insert(at, i)
    return order


def pour(amount: float, vessels: Sequence[Vessel], order: Sequence[int]) -> list[float]:
    """Divide an amount: the leasts, then each vessel in order up to its most, the rest in their proportion.

    What a vessel is not sure to take stays for those after it as well, so that the sum may be more.
    """
    least = sum(vessel.least for vessel in vessels)
    if amount <= least:
        return [amount * vessel.least / least if least else 0.0 for vessel in vessels]
    parts = [vessel.least for vessel in vessels]
    rest = amount - least
    for i in order:
        vessel = vessels[i]
        parts[i] += min(rest, vessel.most - vessel.least)
        rest -= min(rest, vessel.sure - vessel.least)
    spare = sum(vessel.spare for vessel in vessels)
    if rest > 0 and spare:
        return [part + rest * vessel.spare / spare for part, vessel in zip(parts, vessels, strict=True)]
    parts[order[0]] += rest
    return parts


def _helping(pools: Sequence[PoolSnapshot], order: Sequence[int]) -> list[PoolSnapshot]:
    """Return the pools, at their minima those that could not do a unit before the faster do all there is."""
    helping = list(pools)
    for n, i in enumerate(order):
        ahead = [helping[j] for j in order[:n]]
        if ahead and not _helps(pools[i], ahead):
            helping[i] = replace(pools[i], max_workers=pools[i].min_workers)
    return helping


def _helps(pool: PoolSnapshot, ahead: Sequence[PoolSnapshot]) -> bool:
    units = pool.units - pool.in_flight_units
    if pool.rate is None or any(other.rate is None for other in ahead) or not units:
        return True
    rate = sum(_counts(other)[2] * (other.rate or 0.0) for other in ahead)
    if not rate:
        return True
    left = pool.queued_tokens + pool.backlog_tokens + sum(other.in_flight_tokens for other in ahead)
    begin = 0.0 if any(other.running for other in ahead) else min(other.startup_seconds for other in ahead)
    one = (0.0 if pool.running else pool.startup_seconds) + pool.queued_tokens / units / pool.rate
    return one <= begin + left / rate


def _beats(rate: float | None, other: float | None) -> bool:
    if rate is None or other is None:
        return rate is None and other is not None
    return rate > FASTER * other


def _flow(pool: PoolSnapshot, whole: float) -> Vessel:
    """Return what a pool keeps up with, in tokens per second."""
    if pool.rate is None:
        return Vessel(0.0, whole, 0.0 if pool.late else whole, whole)
    least, most, sure = (count * pool.rate for count in _counts(pool))
    return _vessel(pool, least, most, sure, 0.0)


def _tokens(pool: PoolSnapshot, seconds: float, fed: float, whole: float) -> Vessel:
    """Return what a pool drains in so many seconds beside what it holds and what it is fed meanwhile."""
    if pool.rate is None:
        return Vessel(0.0, whole, 0.0 if pool.late else whole, whole)
    taken = pool.in_flight_tokens + fed * seconds
    least, most, sure = (_drained(pool, n, seconds) for n in _counts(pool))
    return _vessel(pool, least, most, sure, taken)


def _vessel(pool: PoolSnapshot, least: float, most: float, sure: float, taken: float) -> Vessel:
    """Return what is left of a pool's means beside what they have taken; only what can grow has any slack."""
    if pool.max_workers <= pool.min_workers:
        return Vessel(max(0.0, least - taken), max(0.0, most - taken), max(0.0, sure - taken), 0.0)
    slack = 1 + SLACK
    return Vessel(
        max(0.0, least - taken), max(0.0, most * slack - taken), max(0.0, sure * slack - taken), most
    )


def _drained(pool: PoolSnapshot, workers: int, seconds: float) -> float:
    there = min(workers, pool.running)
    return (pool.rate or 0.0) * (
        there * seconds + (workers - there) * max(0.0, seconds - pool.startup_seconds)
    )


def _counts(pool: PoolSnapshot) -> tuple[int, int, int]:
    """Return the workers of the minimum, at most, and of those that are sure to come."""
    sure = min(pool.running, pool.max_workers) if pool.late else pool.max_workers
    return min(pool.min_workers, sure), pool.max_workers, sure


def _part(pool: PoolSnapshot, tokens: float, arrival: float, feed: float, seconds: float) -> PoolSnapshot:
    waiting = pool.units - pool.in_flight_units
    share = tokens / pool.queued_tokens if pool.queued_tokens else 0.0
    return replace(
        pool,
        queued_tokens=round(tokens),
        units=pool.in_flight_units + min(waiting, math.ceil(waiting * share)),
        arrival_rate=arrival,
        feed_rate=None if pool.feed_rate is None else feed,
        backlog_tokens=0.0 if pool.finished else feed * seconds,
    )
