"""What a cluster cannot hold, said before anything starts: Ray would wait for it in silence, for ever."""

from collections.abc import Iterator, Sequence

from corpusmill.pipeline.errors import JobFailed
from corpusmill.pipeline.spec import ModelSpec


def check_fits(models: Sequence[ModelSpec], *, cpus: float, gpus: float) -> None:
    """Raise JobFailed where the least that the pools need is more than there is.

    That is each pool's minimum, or one worker, of all pools at once: every unit goes through all of them.
    Beside workers that claim their CPUs, reading takes one.
    """
    asked = sum(_least(model) * model.pool.gpus for model in models)
    if asked > gpus + 1e-6:
        raise JobFailed(
            f"the pools need {asked:g} GPUs at least ({_each(models, gpus=True)}), the cluster has {gpus:g}; "
            "lower models[].pool.min_workers or gpus, or set device: cpu"
        )
    claimed = sum(_least(model) * model.pool.claimed_cpus for model in models)
    if claimed and claimed + 1 > cpus:
        raise JobFailed(
            f"the pools need {claimed:g} CPUs at least ({_each(models, gpus=False)}) and reading one, the "
            f"cluster has {cpus:g}; lower models[].pool.min_workers or cpus, or add nodes"
        )


def crowding(models: Sequence[ModelSpec], *, cpus: float, gpus: float) -> Iterator[str]:
    """Say of each pool that may have more workers than the cluster holds now what will become of the others.

    That is no error: nodes may be added, or the job may have been written for a larger cluster.
    """
    for model in models:
        pool = model.pool
        if pool.gpus:
            holds, each, fate = int(gpus / pool.gpus + 1e-6), f"{pool.gpus:g} GPUs", "others wait for nodes"
        elif pool.claimed_cpus:
            holds, fate = max(0, int(cpus - 1) // pool.claimed_cpus), "others wait for nodes"
            each = f"{pool.claimed_cpus} CPUs beside reading"
        else:
            holds, each, fate = int(cpus) // pool.cpus, f"{pool.cpus} threads", "more share the CPUs"
        if pool.workers > holds:
            yield (
                f"{model.title}: up to {pool.workers} workers of {each} are allowed, the cluster holds "
                f"{holds} now; {fate}"
            )


def _least(model: ModelSpec) -> int:
    return max(1, model.pool.min_workers)


def _each(models: Sequence[ModelSpec], *, gpus: bool) -> str:
    return ", ".join(
        f"{model.title}: {_least(model)} x {model.pool.gpus if gpus else model.pool.claimed_cpus:g}"
        for model in models
        if (model.pool.gpus if gpus else model.pool.claimed_cpus)
    )
