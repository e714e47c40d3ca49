"""One pool's decision: up at once, down after less would have done for a while, to nothing at the end."""

import math
from dataclasses import dataclass, replace

from corpusmill.pipeline.autoscaling.snapshot import Decision, PolicyMemory, PoolSnapshot

MORE, LESS = 0.05, 0.1
"""Parts of a pool's size by which the need must differ before it changes: rates are not that exact."""

SLACK = 0.1
"""Part of a worker that is not worth one: measured rates are no better than that."""

NOTHING_WAITS = "nothing waits"
NO_RATE = "no unit is done yet, so no rate is known"

# How many workers the work in front of a pool asks for.


@dataclass(frozen=True, slots=True)
class Need:
    """Workers asked for, not yet held to the pool's bounds; `floor` is what recent arrivals keep busy."""

    workers: int
    floor: int
    reason: str


def decide(
    pool: PoolSnapshot, memory: PolicyMemory, asked: Need, *, now: float, shrink_after: float
) -> tuple[Decision, PolicyMemory]:
    """Return the target and why, and what to remember. `now` is in seconds, on any clock that only goes on.

    A pool shrinks once less has been needed for `shrink_after` seconds. When nothing more will come, workers
    without a unit end at once, below the minimum too.
    """
    wanted = _bounded(asked.workers, pool)
    held = min(memory.target, pool.max_workers)
    if pool.finished and held > pool.units:
        return Decision(pool.units, "nothing more will come"), PolicyMemory(pool.units, memory.last_growth)
    held = _bounded(held, pool)
    if _jumps(wanted, held, pool):
        return Decision(wanted, asked.reason), PolicyMemory(wanted, last_growth=now)
    lower = _bounded(max(asked.workers, asked.floor), pool)
    if not _falls(lower, held, pool):
        return Decision(held, "as it is"), replace(memory, target=held, too_many_since=None)
    since = now if memory.too_many_since is None else memory.too_many_since
    if now - since < shrink_after or not _settled(memory, now, shrink_after):
        return Decision(held, "as it is"), replace(memory, target=held, too_many_since=since)
    return Decision(lower, _less(asked, shrink_after)), replace(memory, target=lower, too_many_since=now)


def _settled(memory: PolicyMemory, now: float, shrink_after: float) -> bool:
    return memory.last_growth is None or now - memory.last_growth >= shrink_after


def _least(pool: PoolSnapshot) -> int:
    """Return the pool's minimum; at the end no more than there are units."""
    return min(pool.min_workers, pool.units) if pool.finished else pool.min_workers


def _bounded(workers: int, pool: PoolSnapshot) -> int:
    return min(max(workers, _least(pool)), pool.max_workers)


def _jumps(wanted: int, held: int, pool: PoolSnapshot) -> bool:
    """Return whether to grow: by more than the deadband, or to the first worker, or to the last."""
    if wanted <= held:
        return False
    return wanted - held > MORE * held or wanted == pool.max_workers


def _falls(lower: int, held: int, pool: PoolSnapshot) -> bool:
    """Return whether less would do: by more than the deadband, or so little that the minimum would."""
    if lower >= held:
        return False
    return held - lower > LESS * held or lower == _least(pool)


def _less(asked: Need, shrink_after: float) -> str:
    kept = f"; what came lately keeps {asked.floor} busy" if asked.floor > asked.workers else ""
    return f"less would have done for {shrink_after:.0f} s: {asked.reason}{kept}"


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
    """Return the workers that the source could keep busy if it were not held back: by its rate and rest."""
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
    """Return the workers below which a pool would fall behind recent arrivals."""
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
