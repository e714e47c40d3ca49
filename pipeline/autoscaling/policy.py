"""One pool's decision: up at once, down after less would have done for a whole drain time."""

from dataclasses import replace

from corpusmill.pipeline.autoscaling.need import Need, need
from corpusmill.pipeline.autoscaling.snapshot import Decision, Memory, PoolSnapshot

MORE, LESS = 0.05, 0.1
"""Parts of a pool's size by which the need must differ before it changes: rates are not that exact."""


def decide(
    pool: PoolSnapshot, memory: Memory, *, now: float, drain_seconds: float
) -> tuple[Decision, Memory]:
    """Return the target and why, and what to remember. `now` is in seconds, on any clock that only goes on.

    What a finished source leaves without a unit is let go at once: nothing can come for it any more.
    """
    asked = need(pool, drain_seconds)
    wanted = _bounded(asked.workers, pool)
    held = _bounded(memory.target, pool)
    if _jumps(wanted, held, pool):
        return Decision(wanted, asked.reason), Memory(wanted, last_up=now)
    if pool.finished and held > max(pool.units, pool.min_workers):
        target = max(pool.units, pool.min_workers)
        return Decision(target, "nothing more will come"), replace(memory, target=target, low_since=None)
    lower = _bounded(max(asked.workers, asked.floor), pool)
    if not _falls(lower, held, pool):
        return Decision(held, "as it is"), replace(memory, target=held, low_since=None)
    since = now if memory.low_since is None else memory.low_since
    if now - since < drain_seconds or not _settled(memory, now, drain_seconds):
        return Decision(held, "as it is"), replace(memory, target=held, low_since=since)
    return Decision(lower, _less(asked, drain_seconds)), replace(memory, target=lower, low_since=now)


def _settled(memory: Memory, now: float, drain_seconds: float) -> bool:
    return memory.last_up is None or now - memory.last_up >= drain_seconds


def _bounded(workers: int, pool: PoolSnapshot) -> int:
    return min(max(workers, pool.min_workers), pool.max_workers)


def _jumps(wanted: int, held: int, pool: PoolSnapshot) -> bool:
    """Whether to grow: by more than the deadband, or to the first worker, or to the last."""
    if wanted <= held:
        return False
    return wanted - held > MORE * held or wanted == pool.max_workers


def _falls(lower: int, held: int, pool: PoolSnapshot) -> bool:
    """Whether less would do: by more than the deadband, or so little that the minimum would."""
    if lower >= held:
        return False
    return held - lower > LESS * held or lower == pool.min_workers


def _less(asked: Need, drain_seconds: float) -> str:
    kept = f"; what came lately keeps {asked.floor} busy" if asked.floor > asked.workers else ""
    return f"less would have done for {drain_seconds:.0f} s: {asked.reason}{kept}"
