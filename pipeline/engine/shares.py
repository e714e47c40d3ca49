"""Shares of GPUs as Ray places them: a worker's share of one lies on one GPU, several of those whole."""

from collections.abc import Sequence

from corpusmill.pipeline.spec import ModelSpec

EXACT = 1e-6


def workers_a_gpu(share: float) -> int:
    """Return how many workers with this share of a GPU one GPU holds."""
    return int(1 / share + EXACT)


def gpu_cost(share: float) -> float:
    """Return what a worker takes of the GPUs, and nobody can use beside it: 0.6 of one takes it whole."""
    return 1 / workers_a_gpu(share) if 0 < share <= 1 else share


def cost(model: ModelSpec) -> float:
    """Return what a worker takes of the room: its part of the GPUs as they fill, or its CPUs."""
    return gpu_cost(model.pool.gpus) or float(model.pool.cpus)


def holds(gpus: float, share: float) -> int:
    """Return how many workers with this share so many GPUs hold."""
    return int(gpus / gpu_cost(share) + EXACT) if share > 1 else int(gpus + EXACT) * workers_a_gpu(share)


def fit(shares: Sequence[float], gpus: float) -> bool:
    """Say whether workers with these shares fit on so many GPUs together, the largest placed first."""
    free = [1.0] * int(gpus + EXACT)
    for share in sorted(shares, reverse=True):
        if share > 1:
            whole = [i for i, room in enumerate(free) if room > 1 - EXACT][: round(share)]
            if len(whole) < round(share):
                return False
            for i in whole:
                free[i] = 0.0
            continue
        at = next((i for i, room in enumerate(free) if room + EXACT >= share), None)
        if at is None:
            return False
        free[at] -= share
    return True
