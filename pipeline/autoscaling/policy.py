"""The decision for one pool: grow at once, shrink after a delay, end idle workers at the end."""

import math
from dataclasses import dataclass, replace

from corpusmill.pipeline.autoscaling.snapshot import Decision, PolicyMemory, PoolSnapshot

GROW_DEADBAND, SHRINK_DEADBAND = 0.05, 0.1
"""Least relative difference of the need from the size before a pool grows or shrinks: rates are not exact."""

RATE_SLACK = 0.1
"""Fraction of a worker that is rounded down: measured rates are not more exact."""

NOTHING_WAITS = "nothing waits"
NO_RATE = "no unit is done yet, so no rate is known"

# The number of workers that the work of a pool needs.


@dataclass(frozen=True, slots=True)
class Need:
    """The workers needed, before the pool's bounds apply; recent arrivals keep `floor` workers busy."""

    workers: int
    floor: int
    reason: str


def decide(
    pool: PoolSnapshot, memory: PolicyMemory, asked: Need, *, now: float, shrink_after: float
) -> tuple[Decision, PolicyMemory]:
    """Return the decision and the memory for the next one; `now` is in seconds of any monotonic clock.

    A pool shrinks after fewer workers have sufficed for `shrink_after` seconds. When no unit will arrive any
    more, workers without a unit end at once, even below the minimum.
    """
    wanted = _bounded(asked.workers, pool)
    held = min(memory.target, pool.max_workers)
    if pool.finished and held > pool.units:
        return Decision(pool.units, "nothing more will come"), PolicyMemory(pool.units, memory.last_growth)
    held = _bounded(held, pool)
    if _grows(wanted, held, pool):
        return Decision(wanted, asked.reason), PolicyMemory(wanted, last_growth=now)
    lower = _bounded(max(asked.workers, asked.floor), pool)
    if not _shrinks(lower, held, pool):
        return Decision(held, "no change"), replace(memory, target=held, too_many_since=None)
    since = now if memory.too_many_since is None else memory.too_many_since
    if now - since < shrink_after or not _grew_long_ago(memory, now, shrink_after):
        return Decision(held, "no change"), replace(memory, target=held, too_many_since=since)
    return Decision(lower, _shrink_reason(asked, shrink_after)), replace(
        memory, target=lower, too_many_since=now
    )


def _grew_long_ago(memory: PolicyMemory, now: float, shrink_after: float) -> bool:
    return memory.last_growth is None or now - memory.last_growth >= shrink_after


def _minimum(pool: PoolSnapshot) -> int:
    """Return the pool's minimum; at the end at most the number of units."""
    return min(pool.min_workers, pool.units) if pool.finished else pool.min_workers


def _bounded(workers: int, pool: PoolSnapshot) -> int:
    return min(max(workers, _minimum(pool)), pool.max_workers)


def _grows(wanted: int, held: int, pool: PoolSnapshot) -> bool:
    """Return whether to grow: by more than the deadband, to the first worker, or to the last one allowed."""
    if wanted <= held:
        return False
    return wanted - held > GROW_DEADBAND * held or wanted == pool.max_workers


def _shrinks(lower: int, held: int, pool: PoolSnapshot) -> bool:
    """Return whether fewer workers suffice: by more than the deadband, or the minimum."""
    if lower >= held:
        return False
    return held - lower > SHRINK_DEADBAND * held or lower == _minimum(pool)


def _shrink_reason(asked: Need, shrink_after: float) -> str:
    kept = f"; recent arrivals keep {asked.floor} busy" if asked.floor > asked.workers else ""
    return f"fewer workers would have sufficed for {shrink_after:.0f} s: {asked.reason}{kept}"


def need(pool: PoolSnapshot, drain_seconds: float) -> Need:
    """Return the workers that drain the queue within the drain time and keep up with a source held back.

    A worker that starts helps for a shorter time. If a start takes more than half the drain time, no number
    of workers is in time, and the queue gets the time of two starts instead. More workers than units would be
    idle.
    """
    if pool.units == 0 and not _source_is_held_back(pool):
        return Need(0, _floor(pool), NOTHING_WAITS)
    if pool.rate is None:
        return Need(1, pool.running + pool.starting, NO_RATE)
    seconds = drain_target(pool, drain_seconds)
    fed = _feedable_workers(pool, seconds)
    asked = _workers_for_queue(pool, fed, seconds)
    most = pool.units + math.ceil(fed - RATE_SLACK)
    return Need(
        min(_whole_workers(asked), most), _floor(pool), _reason(pool, fed, seconds, capped=asked > most)
    )


def drain_target(pool: PoolSnapshot, drain_seconds: float) -> float:
    """Return the seconds in which a queue has to drain: the drain time, or two starts if that is more."""
    return max(drain_seconds, 2 * pool.startup_seconds)


def _source_is_held_back(pool: PoolSnapshot) -> bool:
    return not pool.finished and bool(pool.feed_rate) and pool.backlog_tokens > 0


def _feedable_workers(pool: PoolSnapshot, seconds: float) -> float:
    """Return the workers that the source could keep busy without limits, by its rate and its backlog."""
    if pool.rate is None or not _source_is_held_back(pool):
        return 0.0
    return min(pool.feed_rate or 0.0, pool.backlog_tokens / seconds) / pool.rate


def _workers_for_queue(pool: PoolSnapshot, fed: float, seconds: float) -> float:
    waiting = (pool.queued_tokens + pool.in_flight_tokens) / (pool.rate or 1.0)
    spare = max(pool.running - fed, 0.0)
    if waiting <= spare * seconds:
        return fed + waiting / seconds
    late = (waiting - spare * seconds) / (seconds - pool.startup_seconds)
    return max(float(pool.running), fed) + late


def _floor(pool: PoolSnapshot) -> int:
    """Return the number of workers that keeps up with recent arrivals."""
    if pool.rate is None or pool.finished:
        return 0
    return _whole_workers(pool.arrival_rate / pool.rate)


def _whole_workers(workers: float) -> int:
    return max(math.ceil(workers - RATE_SLACK), 1 if workers > 0 else 0)


def _reason(pool: PoolSnapshot, fed: float, seconds: float, *, capped: bool) -> str:
    rate = pool.rate or 1.0
    waiting = pool.queued_tokens + pool.in_flight_tokens
    text = f"{waiting:,} tokens wait; a worker encodes {rate:,.0f} tokens/s, the target is {seconds:.0f} s"
    if fed:
        text += f"; the source could feed {fed:.1f} more workers"
    return text + (f"; there are only {pool.units} units" if capped else "")
