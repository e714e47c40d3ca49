"""The Ray actors, encoders and committers, and the task that sums up a block."""

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import ray

from corpusmill.pipeline.blocks import UnitSummary, from_row, summary_of_row
from corpusmill.pipeline.encode.encoded import EncodeStats
from corpusmill.pipeline.errors import DeviceLost
from corpusmill.pipeline.input.units import Split
from corpusmill.pipeline.machine import Release, keep_memory, leave_out_pandas
from corpusmill.pipeline.output.commit import commit
from corpusmill.pipeline.output.receipts import Receipt
from corpusmill.pipeline.output.rejects import Part, join_parts, set_aside
from corpusmill.pipeline.spec import InputSpec, ModelSpec, OutputSpec

CONTEXT = 1 << 30
"""Bytes that CUDA itself takes of a GPU for a process, at most: whoever reads has them already."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker that has loaded its model: its process id, its device's rate in plain matrix products.

    `notes` say what its user should know of where it works.
    """

    pid: int
    product_rate: float = 0.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """A committed unit, the seconds that took, and the id of the node where it was."""

    receipt: Receipt
    seconds: float
    node: str


class EncodeWorker:
    """Holds one model; loads it in the actor's own process, from its node's copy."""

    def __init__(self, spec: ModelSpec) -> None:
        keep_memory()
        leave_out_pandas()
        # Imported here: reading tasks and the driver's workers share this module and need no torch.
        from corpusmill.pipeline.encode.encoder import Encoder

        # Before the model is loaded: afterwards its own memory would be missing.
        self._shortage = shortage(reading(spec.device), spec.pool.gpus)
        self._encoder = Encoder(spec)
        self._telling = threading.Lock()
        self._last = 0.0
        self._release = Release()
        self._release.when_due(time.monotonic())

    def ready(self) -> Ready:
        """Answer once the model is loaded."""
        notes = tuple(note for note in (self._shortage, self._encoder.note) if note is not None)
        return Ready(os.getpid(), self._encoder.product_rate(), notes)

    def encode(self, row: pa.Table, start: int, stop: int) -> tuple[pa.Table, EncodeStats]:
        """Encode rows of a packed unit; the columns stay in the object store, the driver reads the rest.

        Of several that are asked for at once one is computed, the others are laid out or become columns.
        """
        began = time.perf_counter()
        try:
            encoded = self._encoder.encode(from_row(row).part(start, stop))
        except DeviceLost:
            os._exit(1)  # a new process gets the device back; which row is at fault is for the pool to find
        seconds = self._taken(began)
        self._release.when_due(time.monotonic())
        return encoded.columns, replace(encoded.stats, seconds=seconds)

    def _taken(self, began: float) -> float:
        """Return the seconds since a piece began, or since the one before it was done if that is less."""
        with self._telling:
            now, last = time.perf_counter(), self._last
            self._last = now
        return now - max(began, last)


@dataclass(frozen=True, slots=True)
class Done:
    """What the models made of a unit: `starts` are the first rows of each model's parts, in their order."""

    split: Split
    starts: tuple[tuple[int, ...], ...]
    refused: Mapping[int, str]
    tokens: int


class CommitWorker:
    """Writes units, so that encoders never wait for a disk or an object store."""

    def __init__(self, reading: InputSpec, output: OutputSpec) -> None:
        self._reading, self._output = reading, output
        self._node = ray.get_runtime_context().get_node_id()

    def commit(self, row: pa.Table, done: Done, *columns: pa.Table) -> Written:
        """Write one unit; `columns` are those of the first model's parts, then of the second's, and so on."""
        began = time.perf_counter()
        each = iter(columns)
        parts = [[Part(start, next(each)) for start in starts] for starts in done.starts]
        results = [join_parts(of_model, done.refused) for of_model in parts]
        block = set_aside(from_row(row), done.refused, done.split, self._reading)
        receipt = commit(block, results, self._output, tokens=done.tokens)
        return Written(receipt, time.perf_counter() - began, self._node)


@ray.remote(num_cpus=0, max_retries=-1)  # type: ignore[untyped-decorator]
def summarize(*rows: pa.Table) -> list[UnitSummary]:
    """Read blocks' summaries where the blocks are; several at once, as a task costs the driver time."""
    return [summary_of_row(row) for row in rows]


def start_encoder(spec: ModelSpec) -> Any:
    """Start an encoder; what it counts with Ray is no CPU, but on a cluster where that gets it a place."""
    options = {
        "num_cpus": spec.pool.claimed_cpus,
        "num_gpus": spec.pool.gpus,
        "max_restarts": 0,
        "max_concurrency": spec.pool.at_once,
    }
    return ray.remote(**options)(EncodeWorker).remote(spec)


def start_committer(reading: InputSpec, output: OutputSpec) -> Any:
    """Start a committer that writes a few units at once; it has no state, so Ray may restart it at will."""
    actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1, max_concurrency=4)(CommitWorker)
    return actor.remote(reading, output)


# Whether a worker that has a share of a GPU finds its share of the GPU's memory free when it starts.


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
