"""A worker that finds less memory than its share of a GPU says so; readings are made up, no GPU is needed."""

from dataclasses import replace
from pathlib import Path

import pytest

from corpusmill.jobs import model_spec
from corpusmill.pipeline.engine import workers
from corpusmill.pipeline.engine.workers import (
    CUDA_CONTEXT_BYTES,
    EncodeWorker,
    GpuMemory,
    gpu_memory,
    memory_shortage,
)

GB = 10**9


def test_less_than_the_share_is_reported_with_both_figures() -> None:
    """Half of an 80 GB card, of which another program holds 68."""
    told = memory_shortage(GpuMemory(12 * GB, 80 * GB), 0.5)
    assert told is not None
    assert told.startswith("expected 40.0 GB free, which is its share of the GPU (0.5 of 80.0 GB)")


def test_a_free_share_has_no_note() -> None:
    """Even with the other half in use, and with the memory of CUDA for the process that measures."""
    assert memory_shortage(GpuMemory(80 * GB, 80 * GB), 1.0) is None
    assert memory_shortage(GpuMemory(80 * GB - CUDA_CONTEXT_BYTES, 80 * GB), 1.0) is None
    assert memory_shortage(GpuMemory(40 * GB - CUDA_CONTEXT_BYTES, 80 * GB), 0.5) is None
    assert memory_shortage(GpuMemory(40 * GB - CUDA_CONTEXT_BYTES - 1, 80 * GB), 0.5) is not None
    assert memory_shortage(GpuMemory(80 * GB, 80 * GB), 2.0) is None


def test_a_cpu_has_no_gpu_memory_and_no_note() -> None:
    """No CUDA is touched."""
    assert gpu_memory("cpu") is None
    assert memory_shortage(None, 0.5) is None


def test_a_worker_reports_its_note_when_it_is_ready(
    checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The note compares the memory before the model is loaded with the pool's share."""
    monkeypatch.setattr(workers, "keep_memory", lambda: None)
    monkeypatch.setattr(workers, "hide_pandas", lambda: None)
    spec = model_spec(str(checkpoints["classifier"]))
    half = replace(spec, pool=replace(spec.pool, gpus=0.5))
    assert EncodeWorker(half).ready().notes == ()
    monkeypatch.setattr(workers, "gpu_memory", lambda _: GpuMemory(12 * GB, 80 * GB))
    (note,) = EncodeWorker(half).ready().notes
    assert note.startswith("expected 40.0 GB free, which is its share of the GPU (0.5 of 80.0 GB)")
