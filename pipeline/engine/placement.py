"""Whether workers fit on a cluster as Ray places them: a worker's share of a GPU is on one GPU."""

from collections.abc import Callable, Iterator, Sequence

from corpusmill.pipeline.errors import JobFailed
from corpusmill.pipeline.spec import ModelSpec, PoolSpec

ROUNDING = 1e-6


def workers_per_gpu(share: float) -> int:
    """Return how many workers with this share of a GPU one GPU holds."""
    return int(1 / share + ROUNDING)


def gpu_cost(share: float) -> float:
    """Return the GPUs that a worker takes from the others: a worker with 0.6 of a GPU takes a whole GPU."""
    return 1 / workers_per_gpu(share) if 0 < share <= 1 else share


def worker_cost(model: ModelSpec) -> float:
    """Return the GPUs that a worker takes, or its CPUs if it has no GPU."""
    return gpu_cost(model.pool.gpus) or float(model.pool.cpus)


def workers_held(gpus: float, share: float) -> int:
    """Return how many workers with this share of a GPU the GPUs hold."""
    return (
        int(gpus / gpu_cost(share) + ROUNDING) if share > 1 else int(gpus + ROUNDING) * workers_per_gpu(share)
    )


def fit_on_gpus(shares: Sequence[float], gpus: float) -> bool:
    """Return whether workers with these shares fit on the GPUs together; the largest is placed first."""
    free = [1.0] * int(gpus + ROUNDING)
    for share in sorted(shares, reverse=True):
        if share > 1:
            whole = [i for i, room in enumerate(free) if room > 1 - ROUNDING][: round(share)]
            if len(whole) < round(share):
                return False
            for i in whole:
                free[i] = 0.0
            continue
        at = next((i for i, room in enumerate(free) if room + ROUNDING >= share), None)
        if at is None:
            return False
        free[at] -= share
    return True


def check_fits(models: Sequence[ModelSpec], *, cpus: float, gpus: float) -> None:
    """Refuse a job whose smallest pools do not fit on the cluster: Ray would wait for ever without a message.

    Every unit goes through all models, so all run at once. Each pool needs its minimum, or one worker.
    Reading takes one CPU beside workers that claim their CPUs. The error is JobFailed.
    """
    on_gpu = [model.pool.gpus for model in models for _ in range(_smallest_pool(model)) if model.pool.gpus]
    if not fit_on_gpus(on_gpu, gpus):
        asked = sum(on_gpu)
        shared = "" if asked > gpus + 1e-6 else ", and the share of one worker has to fit on one GPU"
        raise JobFailed(
            f"the pools need at least {asked:g} GPUs ({_per_pool(models, lambda pool: pool.gpus)}), the "
            f"cluster has {gpus:g}{shared}; lower models[].pool.min_workers or gpus, or set device: cpu"
        )
    claimed = sum(_smallest_pool(model) * model.pool.claimed_cpus for model in models)
    if claimed and claimed + 1 > cpus:
        of_each = _per_pool(models, lambda pool: pool.claimed_cpus)
        raise JobFailed(
            f"the pools need at least {claimed:g} CPUs ({of_each}) and reading needs one, "
            f"the cluster has {cpus:g}; lower models[].pool.min_workers or cpus, or add nodes"
        )


def crowding_notes(models: Sequence[ModelSpec], *, cpus: float, gpus: float) -> Iterator[str]:
    """Yield a note per pool that may grow to more workers than the cluster has room for now.

    This is no error: nodes may be added, or the job may have been written for a larger cluster.
    """
    for model in models:
        count, each, fate = _capacity(model, cpus, gpus)
        if model.pool.workers > count:
            yield (
                f"{model.title}: the pool may grow to {model.pool.workers} workers with {each} each, and the "
                f"cluster has room for {count} now; {fate}"
            )


def _capacity(model: ModelSpec, cpus: float, gpus: float) -> tuple[int, str, str]:
    """Return how many workers the cluster has room for, what each holds, and what further workers do."""
    pool = model.pool
    if pool.gpus:
        return (
            workers_held(gpus, pool.gpus),
            f"{pool.gpus:g} GPU{_s(pool.gpus)}",
            "further workers wait for nodes",
        )
    if pool.claimed_cpus:
        count = max(0, int(cpus - 1) // pool.claimed_cpus)
        return count, f"{pool.claimed_cpus} CPU{_s(pool.claimed_cpus)}", "further workers wait for nodes"
    return int(cpus) // pool.cpus, f"{pool.cpus} CPU thread{_s(pool.cpus)}", "further workers share the CPUs"


def _smallest_pool(model: ModelSpec) -> int:
    return max(1, model.pool.min_workers)


def _per_pool(models: Sequence[ModelSpec], of: Callable[[PoolSpec], float]) -> str:
    return ", ".join(
        f"{model.title}: {_smallest_pool(model)} x {of(model.pool):g}" for model in models if of(model.pool)
    )


def _s(count: float) -> str:
    return "" if count == 1 else "s"
