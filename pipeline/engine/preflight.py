"""What a cluster cannot hold, said before anything starts: Ray would wait for it in silence, for ever."""

from collections.abc import Sequence

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


def _least(model: ModelSpec) -> int:
    return max(1, model.pool.min_workers)


def _each(models: Sequence[ModelSpec], *, gpus: bool) -> str:
    return ", ".join(
        f"{model.title}: {_least(model)} x {model.pool.gpus if gpus else model.pool.claimed_cpus:g}"
        for model in models
        if (model.pool.gpus if gpus else model.pool.claimed_cpus)
    )
