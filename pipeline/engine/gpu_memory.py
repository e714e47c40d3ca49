"""Whether a worker that has a share of a GPU finds its share of the GPU's memory free when it starts."""

from dataclasses import dataclass

CONTEXT = 1 << 30
"""Bytes that CUDA itself takes of a GPU for a process, at most: whoever reads has them already."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A GPU's memory as one process sees it, in bytes."""

    free: int
    total: int


def reading(device: str) -> Reading | None:
    """Read a device's memory; None of one that is no GPU."""
    if device != "cuda":
        return None
    import torch

    free, total = torch.cuda.mem_get_info()
    return Reading(free, total)


def shortage(found: Reading | None, share: float) -> str | None:
    """Say what a worker with this share of a GPU lacks, before it has loaded anything; None if nothing."""
    if found is None:
        return None
    expected = min(share, 1.0) * found.total
    if found.free + CONTEXT >= expected:
        return None
    return (
        f"found {_gb(found.free)} GB free of the {_gb(expected)} GB that its share of the GPU ({share:g} of "
        f"{_gb(found.total)} GB) should have: others hold the rest; end them, or lower tokens_per_batch or "
        "the number of workers"
    )


def _gb(count: float) -> str:
    return f"{count / 1e9:.1f}"
