"""The actors that encode, and the task that summarizes blocks."""

import os
import threading
import time
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import ray

from corpusmill.pipeline.blocks import UnitSummary, unpack_block, unpack_summary
from corpusmill.pipeline.encode.encoded import EncodeStats
from corpusmill.pipeline.errors import DeviceLost
from corpusmill.pipeline.machine import MemoryRelease, hide_pandas, keep_memory
from corpusmill.pipeline.spec import ModelSpec

CUDA_CONTEXT_BYTES = 1 << 30
"""Largest number of bytes of a GPU that CUDA takes per process; the process that measures takes them too."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker that has loaded its model: its process id, and its device's rate in plain matrix products.

    `notes` are messages for the user about the worker's device.
    """

    pid: int
    product_rate: float = 0.0
    notes: tuple[str, ...] = ()


class EncodeWorker:
    """An actor that holds one model, loaded from the copy on its node."""

    def __init__(self, spec: ModelSpec) -> None:
        keep_memory()
        hide_pandas()
        # Imported here: reading tasks and the driver import this module and need no torch.
        from corpusmill.pipeline.encode.encoder import Encoder

        # Measured before the model is loaded: its memory would count as missing.
        self._shortage = memory_shortage(gpu_memory(spec.device), spec.pool.gpus)
        self._encoder = Encoder(spec)
        self._lock = threading.Lock()
        self._last = 0.0
        self._release = MemoryRelease()
        self._release.when_due(time.monotonic())

    def ready(self) -> Ready:
        """Return the notes and the device's rate; Ray calls this once the model is loaded."""
        notes = tuple(note for note in (self._shortage, self._encoder.note) if note is not None)
        return Ready(os.getpid(), self._encoder.product_rate(), notes)

    def encode(self, packed: pa.Table, start: int, stop: int) -> tuple[pa.Table, EncodeStats]:
        """Encode rows of a packed block; columns stay in the object store, the driver reads the statistics.

        With several calls at once, the model computes one while the host prepares or finishes the others.
        """
        began = time.perf_counter()
        try:
            encoded = self._encoder.encode(unpack_block(packed).part(start, stop))
        except DeviceLost:
            os._exit(1)  # only a new process can use the device again; the pool finds the row at fault
        seconds = self._seconds_taken(began)
        self._release.when_due(time.monotonic())
        return encoded.columns, replace(encoded.stats, seconds=seconds)

    def _seconds_taken(self, began: float) -> float:
        """Return the seconds since a work item began, or since the previous item ended if that is later."""
        with self._lock:
            now, last = time.perf_counter(), self._last
            self._last = now
        return now - max(began, last)


@ray.remote(num_cpus=0, max_retries=-1)  # type: ignore[untyped-decorator]
def summarize(*blocks: pa.Table) -> list[UnitSummary]:
    """Return the summaries of packed blocks; several per task, as each task costs time of the driver."""
    return [unpack_summary(block) for block in blocks]


def start_encoder(spec: ModelSpec) -> Any:
    """Start an encoder; it claims CPUs from Ray only on a cluster, so that Ray finds a node for it."""
    options = {
        "num_cpus": spec.pool.claimed_cpus,
        "num_gpus": spec.pool.gpus,
        "max_restarts": 0,
        "max_concurrency": spec.pool.at_once,
    }
    return ray.remote(**options)(EncodeWorker).remote(spec)


@dataclass(frozen=True, slots=True)
class GpuMemory:
    """The bytes of a GPU's memory as one process sees them."""

    free: int
    total: int


def gpu_memory(device: str) -> GpuMemory | None:
    """Return a device's memory; None if the device is no GPU."""
    if device != "cuda":
        return None
    import torch

    free, total = torch.cuda.mem_get_info()
    return GpuMemory(free, total)


def memory_shortage(found: GpuMemory | None, share: float) -> str | None:
    """Return a note if less than a worker's share of a GPU is free before it loads the model."""
    if found is None:
        return None
    expected = min(share, 1.0) * found.total
    if found.free + CUDA_CONTEXT_BYTES >= expected:
        return None
    return (
        f"expected {_gb(expected)} GB free, which is its share of the GPU ({share:g} of "
        f"{_gb(found.total)} GB), found {_gb(found.free)} GB: other processes hold the rest; end them, or "
        "lower tokens_per_batch or the number of workers"
    )


def _gb(count: float) -> str:
    return f"{count / 1e9:.1f}"
