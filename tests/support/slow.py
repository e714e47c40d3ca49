"""Encode workers of a model that takes long: real processes and real results, and a wait with each unit.

Workers of a pool on `cuda` compute on the CPU, and take their share of GPUs that Ray is only told of.
"""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import ray

from corpusmill.pipeline.encode.encoded import EncodeStats
from corpusmill.pipeline.engine.workers import EncodeWorker
from corpusmill.pipeline.spec import ModelSpec


class SlowWorker(EncodeWorker):
    """An encode worker that takes some seconds longer for each unit."""

    def __init__(self, spec: ModelSpec, seconds: float, note: str | None = None) -> None:
        super().__init__(replace(spec, device="cpu"))
        self._seconds = seconds
        self._shortage = note

    def encode(self, packed: pa.Table, start: int, stop: int) -> tuple[pa.Table, EncodeStats]:
        """Encode, and wait."""
        columns, stats = super().encode(packed, start, stop)
        time.sleep(self._seconds)
        longer = replace(stats, seconds=stats.seconds + self._seconds)
        return columns, longer


def starter(
    seconds: Mapping[str, float], notes: Mapping[str, str] = MappingProxyType({})
) -> Callable[[ModelSpec], Any]:
    """Return what starts encoders that take so much longer a unit, by their model's prefix.

    `notes` are what they say when they are ready.
    """
    # Workers have no path to the tests: they get this module's classes whole.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

    def start(spec: ModelSpec) -> Any:
        options = {"num_cpus": spec.pool.claimed_cpus, "num_gpus": spec.pool.gpus, "max_restarts": 0}
        slow = ray.remote(**options)(SlowWorker)
        return slow.remote(spec, seconds.get(spec.prefix, 0.0), notes.get(spec.prefix))

    return start
