"""The Ray actors, encoders and committers, and the task that sums up a block."""

import os
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray

from corpusmill.pipeline.blocks import UnitSummary, from_row, summary_of_row
from corpusmill.pipeline.commit import commit
from corpusmill.pipeline.receipts import Receipt
from corpusmill.pipeline.spec import ModelSpec, OutputSpec


@dataclass(frozen=True, slots=True)
class EncodeStats:
    """What encoding a unit took."""

    tokens: int
    batches: int


class EncodeWorker:
    """Holds one model; loads it in the actor's own process, from its node's copy."""

    def __init__(self, spec: ModelSpec) -> None:
        # Imported here: reading tasks and the driver's workers share this module and need no torch.
        from corpusmill.pipeline.encode import Encoder

        self._encoder = Encoder(spec)

    def ready(self) -> int:
        """Answer once the model is loaded, with the worker's process id."""
        return os.getpid()

    def encode(self, row: pa.Table) -> tuple[pa.Table, EncodeStats]:
        """Encode a packed unit; the columns stay in the object store, the driver reads the statistics."""
        encoded = self._encoder.encode(from_row(row))
        return encoded.columns, EncodeStats(encoded.tokens, encoded.batches)


class CommitWorker:
    """Writes units, so that encoders never wait for a disk or an object store."""

    def commit(self, row: pa.Table, output: OutputSpec, tokens: int, *results: pa.Table) -> Receipt:
        """Write one unit."""
        return commit(from_row(row), results, output, tokens=tokens)


@ray.remote(num_cpus=0, max_retries=-1)  # type: ignore[untyped-decorator]
def summarize(row: pa.Table) -> UnitSummary:
    """Read a block's summary where the block is."""
    return summary_of_row(row)


def start_encoder(spec: ModelSpec) -> Any:
    """Start an encoder; it counts no CPU with Ray, where a fraction of one can deadlock a small machine."""
    actor = ray.remote(num_cpus=0, num_gpus=spec.pool.gpus, max_restarts=0)(EncodeWorker)
    return actor.remote(spec)


def start_committer() -> Any:
    """Start a committer that writes a few units at once; it has no state, so Ray may restart it at will."""
    return ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1, max_concurrency=4)(
        CommitWorker
    ).remote()
