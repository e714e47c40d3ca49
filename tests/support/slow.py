"""Encode workers of a model that takes long: real processes and real results, and a wait with each unit."""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
import ray

from corpusmill.pipeline.engine.workers import EncodeStats, EncodeWorker
from corpusmill.pipeline.spec import ModelSpec


class SlowWorker(EncodeWorker):
    """An encode worker that takes some seconds longer for each unit."""

    def __init__(self, spec: ModelSpec, seconds: float) -> None:
        super().__init__(spec)
        self._seconds = seconds

    def encode(self, row: pa.Table, start: int, stop: int) -> tuple[pa.Table, EncodeStats]:
        """Encode, and wait."""
        columns, stats = super().encode(row, start, stop)
        time.sleep(self._seconds)
        longer = EncodeStats(
            stats.tokens, stats.batches, stats.seconds + self._seconds, stats.refused, stats.flops
        )
        return columns, longer


def starter(seconds: Mapping[str, float]) -> Callable[[ModelSpec], Any]:
    """Return what starts encoders that take so much longer a unit, by the prefix of their model."""
    # Workers have no path to the tests: they get this module's classes whole.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

    def start(spec: ModelSpec) -> Any:
        actor = ray.remote(num_cpus=spec.pool.claimed_cpus, max_restarts=0)(SlowWorker)
        return actor.remote(spec, seconds.get(spec.prefix, 0.0))

    return start
