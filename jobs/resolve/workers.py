"""The sizes of the pools: workers per pool, and CPU threads or GPUs per worker, by share of the work."""

from dataclasses import replace

from corpusmill.jobs.config.schema import PoolConfig
from corpusmill.jobs.resolve.model import ResolvedModel
from corpusmill.pipeline.engine.placement import workers_held
from corpusmill.pipeline.spec import ModelSpec, PoolSpec

AT_ONCE_ON_GPU = 2
"""Work items of one worker: the GPU computes one, and the host prepares or finishes another."""
SHARED_DRAIN_SECONDS = 60.0
LEAST_FLOPS = 1e9
LEAST_RATE = 1e3
"""FLOP and tokens per second that every core reaches with every model: 2 % of the measured rates."""


def size_pools(
    models: tuple[ResolvedModel, ...], *, cpus: int, gpus: int, units: int, claimed: bool = False
) -> tuple[ModelSpec, ...]:
    """Return the models with pools for a machine or cluster of so many CPUs and GPUs.

    Each pool may grow to all CPUs, as the other pools may be idle. Its workers have one thread each, as
    threads wait for one another (docs/decisions/0005). The CPUs are divided by the models' cost per token; if
    there are fewer units than CPUs in a pool's part, its workers have several threads. GPUs are divided
    evenly, so that several models fit on one GPU. `claimed`: Ray counts the workers' CPUs, and one CPU is
    left for reading.
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


def drain_seconds(requested: float | None, *, shared: bool) -> float | None:
    """Return the drain time of a run: of the job, or the meaning of `auto` (None) on a shared cluster."""
    return SHARED_DRAIN_SECONDS if requested is None and shared else requested


def _cpu_pool(config: PoolConfig, part: float, cpus: int, units: int) -> PoolSpec:
    """Return a pool of CPU workers for a model; `part` is its part of the CPUs."""
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
    # A worker's part of a GPU, rounded down to four decimals, as Ray counts.
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
    """Return how many workers with `each` of a GPU fit on a share of the GPUs; a worker uses one GPU."""
    whole = int(share + 1e-9)
    return workers_held(whole, each) + (int((share - whole) / each + 1e-9) if each <= 1 else 0)
