"""The numbers of workers that end a job soonest on a machine of its own.

An idle CPU beside waiting work is waste there. No CPU is reserved for a pool: all pools share the CPUs, and
an idle worker needs none. So the time of the job has two lower bounds: all work divided by all CPUs, and the
work of each pool divided by its workers.
"""

from collections.abc import Sequence

from corpusmill.pipeline.autoscaling.policy import NO_RATE, NOTHING_WAITS, Need
from corpusmill.pipeline.autoscaling.snapshot import PoolSnapshot


def soonest(pools: Sequence[PoolSnapshot], costs: Sequence[float], room: float) -> list[Need]:
    """Return the workers needed by pools that share `room` CPUs (or GPUs); a worker takes its pool's cost.

    Greedy: the pool that would end last gets one more worker, as long as this saves more seconds than a start
    takes. Workers that exist already need no start.
    """
    work = [_seconds_of_work(pool) for pool in pools]
    most = [
        _most_useful_workers(pool, int(room / cost + 1e-6)) for pool, cost in zip(pools, costs, strict=True)
    ]
    all_work = sum(seconds * cost for seconds, cost in zip(work, costs, strict=True))
    lower_bounds = [seconds / count for seconds, count in zip(work, most, strict=True)]
    earliest = max([all_work / room if room else 0.0, *lower_bounds])
    counts = [min(1, count) for count in most]
    while True:
        last = max(range(len(pools)), key=lambda i: work[i] / counts[i])
        saved = work[last] / counts[last] - max(earliest, work[last] / (counts[last] + 1))
        existing = pools[last].running + pools[last].starting
        price = pools[last].startup_seconds if counts[last] >= existing else 0.0
        if counts[last] >= most[last] or saved <= price:
            break
        counts[last] += 1
    return [_need(*each) for each in zip(pools, work, counts, strict=True)]


def _seconds_of_work(pool: PoolSnapshot) -> float:
    """Return the seconds that one worker needs for all tokens that wait, are in flight or will arrive."""
    tokens = pool.queued_tokens + pool.in_flight_tokens + pool.backlog_tokens
    return tokens / pool.rate if pool.rate else 0.0


def _most_useful_workers(pool: PoolSnapshot, fitting: int) -> int:
    """Return the largest number of workers that have work; new workers need units in the queue."""
    existing = pool.running + pool.starting
    useful = max(existing, pool.units) if pool.queued_tokens else existing
    return max(1, min(pool.max_workers, fitting, useful))


def _need(pool: PoolSnapshot, work: float, count: int) -> Need:
    if pool.units == 0:
        return Need(0, 0, NOTHING_WAITS)
    if pool.rate is None:
        return Need(1, pool.running + pool.starting, NO_RATE)
    return Need(
        count,
        0,
        f"{work:,.0f} s of one worker's work are left, at {pool.rate:,.0f} tokens/s; "
        f"a start takes {pool.startup_seconds:.0f} s",
    )
