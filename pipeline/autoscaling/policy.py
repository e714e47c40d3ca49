"""One pool's decision: up at once, down after less would have done for a while, to nothing at the end."""

from dataclasses import replace

from corpusmill.pipeline.autoscaling.need import Need
from corpusmill.pipeline.autoscaling.snapshot import Decision, Memory, PoolSnapshot

MORE, LESS = 0.05, 0.1
"""Parts of a pool's size by which the need must differ before it changes: rates are not that exact."""


def decide(
    pool: PoolSnapshot, memory: Memory, asked: Need, *, now: float, patience: float
) -> tuple[Decision, Memory]:
    """Return the target and why, and what to remember. `now` is in seconds, on any clock that only goes on.

    A pool shrinks once less has been needed for `patience` seconds. When nothing more will come, workers
    without a unit end at once, below the minimum too.
    """
    wanted = _bounded(asked.workers, pool)
    held = min(memory.target, pool.max_workers)
    if pool.finished and held > pool.units:
        return Decision(pool.units, "nothing more will come"), Memory(pool.units, memory.last_up)
    held = _bounded(held, pool)
    if _jumps(wanted, held, pool):
        return Decision(wanted, asked.reason), Memory(wanted, last_up=now)
    lower = _bounded(max(asked.workers, asked.floor), pool)
    if not _falls(lower, held, pool):
        return Decision(held, "as it is"), replace(memory, target=held, low_since=None)
    since = now if memory.low_since is None else memory.low_since
    if now - since < patience or not _settled(memory, now, patience):
        return Decision(held, "as it is"), replace(memory, target=held, low_since=since)
    return Decision(lower, _less(asked, patience)), replace(memory, target=lower, low_since=now)


def _settled(memory: Memory, now: float, patience: float) -> bool:
    return memory.last_up is None or now - memory.last_up >= patience


def _least(pool: PoolSnapshot) -> int:
    """Return the pool's minimum; at the end no more than there are units."""
    return min(pool.min_workers, pool.units) if pool.finished else pool.min_workers


def _bounded(workers: int, pool: PoolSnapshot) -> int:
    return min(max(workers, _least(pool)), pool.max_workers)


def _jumps(wanted: int, held: int, pool: PoolSnapshot) -> bool:
    """Whether to grow: by more than the deadband, or to the first worker, or to the last."""
    if wanted <= held:
        return False
    return wanted - held > MORE * held or wanted == pool.max_workers


def _falls(lower: int, held: int, pool: PoolSnapshot) -> bool:
    """Whether less would do: by more than the deadband, or so little that the minimum would."""
    if lower >= held:
        return False
    return held - lower > LESS * held or lower == _least(pool)


def _less(asked: Need, patience: float) -> str:
    kept = f"; what came lately keeps {asked.floor} busy" if asked.floor > asked.workers else ""
    return f"less would have done for {patience:.0f} s: {asked.reason}{kept}"
