"""How many workers each pool gets, and how many CPU threads or GPUs each: by share of the work."""

from dataclasses import replace

from corpusmill.jobs.config.schema import PoolConfig
from corpusmill.jobs.resolve.model import ResolvedModel
from corpusmill.pipeline.engine.placement import holds
from corpusmill.pipeline.spec import ModelSpec, PoolSpec

AT_ONCE_ON_GPU = 2
"""Pieces: one that the GPU computes, and one before or behind that, which is the host's."""
SHARED_DRAIN_SECONDS = 60.0
LEAST_FLOPS = 1e9
LEAST_RATE = 1e3
"""FLOP and tokens per second that any machine's core does for any model: a fiftieth of what was measured."""


def size_pools(
    models: tuple[ResolvedModel, ...], *, cpus: int, gpus: int, units: int, claimed: bool = False
) -> tuple[ModelSpec, ...]:
    """Return the models with their pools sized for a machine or cluster of so many CPUs and GPUs.

    Each pool may grow to all CPUs, as the others may have nothing to do. Its workers have one thread each:
    those never wait for one another (docs/decisions/0005). Where there are fewer units than CPUs of the
    pool's part, by the models' cost per token, they have several. GPUs are shared evenly, so that several
    models fit on one. `claimed`: Ray counts the workers' CPUs, and one is left to reading.
    """
    cpus = max(1, cpus - 1) if claimed else cpus
    on_cpu = sum(model.flops_per_token for model in models if model.spec.device == "cpu")
    on_gpu = sum(model.spec.device == "cuda" for model in models)
    sized = []
    for model in models:
        if model.spec.device == "cpu":
            part = cpus * model.flops_per_token / on_cpu
            pool = _cpu_pool(model.config.pool, part, cpus, units)
        else:
            pool = _gpu_pool(model.config.pool, gpus / on_gpu)
        least_rate = min(LEAST_RATE, LEAST_FLOPS / max(model.flops_per_token, 1))
        pool = replace(pool, least_rate=least_rate, claimed_cpus=pool.cpus if claimed else 0)
        sized.append(replace(model.spec, pool=pool))
    return tuple(sized)


def drain_seconds(asked: float | None, *, shared: bool) -> float | None:
    """Return the drain time of a run: the job's own, or what `auto` (None) means on a shared cluster."""
    return SHARED_DRAIN_SECONDS if asked is None and shared else asked


def _cpu_pool(config: PoolConfig, part: float, cpus: int, units: int) -> PoolSpec:
    """Size a pool whose model has such a part of the work of so many CPUs."""
    whole_cpus = max(1, round(part))
    if config.cpus != "auto":
        threads = config.cpus
    else:
        sharing = min(whole_cpus, max(1, units)) if config.max_workers == "auto" else config.max_workers
        threads = max(1, whole_cpus // max(sharing, config.min_workers))
    fitting = min(cpus // threads, units)
    workers = max(1, config.min_workers, fitting) if config.max_workers == "auto" else config.max_workers
    return PoolSpec(workers, threads, min_workers=min(config.min_workers, workers))


def _gpu_pool(config: PoolConfig, share: float) -> PoolSpec:
    # A worker's part of a GPU, rounded down to what Ray counts in: it keeps four decimals.
    part = min(1.0, int(share * 1e4) / 1e4) or 1.0
    gpus = part if config.gpus == "auto" else float(config.gpus)
    workers = (
        max(1, config.min_workers, _workers_that_fit(share, gpus))
        if config.max_workers == "auto"
        else config.max_workers
    )
    cpus = 1 if config.cpus == "auto" else config.cpus
    least = min(config.min_workers, workers)
    return PoolSpec(workers, cpus, gpus, min_workers=least, at_once=AT_ONCE_ON_GPU)


def _workers_that_fit(share: float, each: float) -> int:
    """Return how many workers with `each` of a GPU fit on a share of the GPUs: one lies on one of them."""
    whole = int(share + 1e-9)
    return holds(whole, each) + (int((share - whole) / each + 1e-9) if each <= 1 else 0)
