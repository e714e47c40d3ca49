"""What a cluster cannot hold, said before anything starts: Ray would wait for it in silence, for ever."""

from collections.abc import Callable, Iterator, Sequence

from corpusmill.pipeline.engine.shares import fit, holds
from corpusmill.pipeline.errors import JobFailed
from corpusmill.pipeline.spec import ModelSpec

Least = tuple[ModelSpec, int]
"""A pool, and the fewest workers that it needs."""


def check_fits(models: Sequence[ModelSpec], *, cpus: float, gpus: float) -> None:
    """Raise JobFailed where the least that the pools need is more than there is.

    That is each pool's minimum, and one worker of some pool of every model, of all models at once: every unit
    goes through all of them. Beside workers that claim their CPUs, reading takes one.
    """
    leasts = [least for model in models for least in _leasts(model, cpus, gpus)]
    on_gpu = [pool.pool.gpus for pool, count in leasts for _ in range(count) if pool.pool.gpus]
    if not fit(on_gpu, gpus):
        asked = sum(on_gpu)
        shared = "" if asked > gpus + 1e-6 else ", and a worker's share has to lie on one of them"
        raise JobFailed(
            f"the pools need {asked:g} GPUs at least ({_each(leasts, lambda pool: pool.pool.gpus)}), the "
            f"cluster has {gpus:g}{shared}; lower models[].pool.min_workers or gpus, or set device: cpu"
        )
    claimed = sum(count * pool.pool.claimed_cpus for pool, count in leasts)
    if claimed and claimed + 1 > cpus:
        of_each = _each(leasts, lambda pool: pool.pool.claimed_cpus)
        raise JobFailed(
            f"the pools need {claimed:g} CPUs at least ({of_each}) and reading one, "
            f"the cluster has {cpus:g}; lower models[].pool.min_workers or cpus, or add nodes"
        )


def crowding(models: Sequence[ModelSpec], *, cpus: float, gpus: float) -> Iterator[str]:
    """Say of each pool that may have more workers than the cluster holds now what will become of the others.

    That is no error: nodes may be added, or the job may have been written for a larger cluster.
    """
    for pool in (pool for model in models for pool in model.by_pool):
        count, each, fate = _held(pool, cpus, gpus)
        if pool.label and not count and pool.pool.gpus:
            yield f"{pool.pool_name}: no worker of {each} fits the cluster now; its other pools do it all"
        elif pool.pool.workers > count:
            yield (
                f"{pool.pool_name}: up to {pool.pool.workers} workers of {each} are allowed, "
                f"the cluster holds {count} now; {fate}"
            )


def _held(model: ModelSpec, cpus: float, gpus: float) -> tuple[int, str, str]:
    """Return how many workers of a pool the cluster holds, of what, and what becomes of more."""
    pool = model.pool
    if pool.gpus:
        return holds(gpus, pool.gpus), f"{pool.gpus:g} GPUs", "others wait for nodes"
    if pool.claimed_cpus:
        count = max(0, int(cpus - 1) // pool.claimed_cpus)
        return count, f"{pool.claimed_cpus} CPUs beside reading", "others wait for nodes"
    return int(cpus) // pool.cpus, f"{pool.cpus} threads", "more share the CPUs"


def _leasts(model: ModelSpec, cpus: float, gpus: float) -> list[Least]:
    """Return the minima of a model's pools; where all are 0, one worker of the first pool that fits."""
    pools = model.by_pool
    if any(pool.pool.min_workers for pool in pools):
        return [(pool, pool.pool.min_workers) for pool in pools]
    # Workers that claim no CPUs fit anywhere: they share those that there are.
    fitting = (
        pool for pool in pools if _held(pool, cpus, gpus)[0] or not (pool.pool.gpus or pool.pool.claimed_cpus)
    )
    return [(next(fitting, pools[0]), 1)]


def _each(leasts: Sequence[Least], of: Callable[[ModelSpec], float]) -> str:
    return ", ".join(
        f"{pool.pool_name}: {count} x {of(pool):g}" for pool, count in leasts if count and of(pool)
    )
