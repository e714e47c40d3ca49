"""The reading and tokenizing stages on Ray Data, one unit per block.

No other file of the engine uses Ray Data. A packed block is one row, and the target block size is one byte.
So Ray Data emits every unit as a separate block as soon as the unit is ready, and never splits or merges one.
"""

import functools
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import ray
from ray.data import DataContext, Dataset, ExecutionResources
from ray.data._internal.execution.backpressure_policy import (
    ENABLED_BACKPRESSURE_POLICIES,
    ENABLED_BACKPRESSURE_POLICIES_CONFIG_KEY,
    BackpressurePolicy,
)
from ray.data._internal.execution.interfaces import PhysicalOperator
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from corpusmill.pipeline.blocks import pack_block, unpack_block
from corpusmill.pipeline.engine.feeder import Feeder
from corpusmill.pipeline.engine.stages import read, tokenize_block
from corpusmill.pipeline.input.planning import Pending
from corpusmill.pipeline.spec import InputSpec, PipelineSpec, PoolSpec, Tokenization

OPEN_UNITS_PER_WORKER = 4
"""For each work item that a worker computes at once."""
STORE_SHARE = 0.25
"""Share of the object store for units that wait for an encoder; Ray Data may hold the same share again."""
READS_PER_SHARE = 8
WAITING_BYTES_KEY = "corpusmill.waiting_bytes"
RELEASE_SECONDS = 3600.0
"""Seconds after which Ray Data lets one unit through in spite of the limits.

The default is short, as Ray Data does not know that the engine takes units out. Each unit taken makes room,
so this release is not needed."""


class WaitingUnitsLimit(BackpressurePolicy):  # type: ignore[misc]
    """A limit of the bytes of units that wait to be taken; it also holds back tasks that run.

    The budgets of Ray Data also count the units that were taken. If a few of them fill the share of a small
    store, Ray Data never starts a task again. This policy never holds reading back while no unit waits.
    """

    def can_add_input(self, op: PhysicalOperator) -> bool:
        """Return whether another task may start."""
        return self.max_task_output_bytes_to_read(op) > 0

    def max_task_output_bytes_to_read(self, op: PhysicalOperator) -> int:
        """Return the bytes that may be read now: a part of the room, as new bytes count with a delay."""
        share: int = self._data_context.get_config(WAITING_BYTES_KEY)
        left: int = share - self._topology[op].output_queue_bytes()
        return max(0, min(left, math.ceil(share / READS_PER_SHARE)))


class UnitSource(Datasource):  # type: ignore[misc]
    """A data source with one read task per pending split; each task streams its units as one-row blocks."""

    def __init__(self, pending: Sequence[Pending], spec: InputSpec) -> None:
        super().__init__()
        self._pending = pending
        self._spec = spec

    def estimate_inmemory_data_size(self) -> int | None:
        """Return no estimate; its only use is the number of blocks that Ray Data plans."""
        return None

    def get_read_tasks(
        self,
        parallelism: int,  # noqa: ARG002
        per_task_row_limit: int | None = None,  # noqa: ARG002
        data_context: DataContext | None = None,  # noqa: ARG002
    ) -> list[ReadTask]:
        """Return one task per split, whatever the parallelism asked for."""
        nothing_known = BlockMetadata(num_rows=None, size_bytes=None, exec_stats=None, input_files=None)
        return [
            ReadTask(functools.partial(_read_blocks, pending, self._spec), nothing_known)
            for pending in self._pending
        ]


def unit_feeder(pending: Sequence[Pending], spec: PipelineSpec) -> Feeder:
    """Return the feeder that pulls units from Ray Data, no further ahead than the largest pools can use."""
    pools = [model.pool for model in spec.models]
    # On a cluster reading leaves the smallest pools their CPUs, on one machine the largest pools.
    cpus = sum((pool.min_workers if pool.claimed_cpus else pool.workers) * pool.cpus for pool in pools)
    return Feeder(
        lambda: tokenized_blocks(pending, spec, reserved_cpus=cpus),
        max_units=open_units(pools),
        max_bytes=int(_store() * STORE_SHARE),
    )


def open_units(pools: Sequence[PoolSpec]) -> int:
    """Return how many units may be open: tokenized, and not committed yet."""
    return OPEN_UNITS_PER_WORKER * sum(pool.workers * pool.at_once for pool in pools) + 2


def _store() -> float:
    return float(ray.cluster_resources().get("object_store_memory", 1e9))


def tokenized_blocks(
    pending: Sequence[Pending], spec: PipelineSpec, *, reserved_cpus: float
) -> Iterator[tuple[Any, int]]:
    """Yield (reference, bytes) of each packed and tokenized unit, in the order in which they become ready.

    Ray Data pauses when its share of the object store is full and no unit is pulled. It does not use the
    encoders' CPUs (`reserved_cpus`), but always has one.
    """
    context = DataContext.get_current().copy()
    context.target_max_block_size = 1
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.op_resource_reservation_enabled = False
    context.output_backpressure_guard_release_interval_s = RELEASE_SECONDS
    context.set_config(WAITING_BYTES_KEY, max(1, int(_store() * STORE_SHARE)))
    context.set_config(
        ENABLED_BACKPRESSURE_POLICIES_CONFIG_KEY, [*ENABLED_BACKPRESSURE_POLICIES, WaitingUnitsLimit]
    )
    context.execution_no_progress_timeout_s = -1
    total = ray.cluster_resources().get("CPU", 1.0)
    context.execution_options.resource_limits = ExecutionResources.for_limits(
        cpu=max(1.0, total - reserved_cpus)
    )
    with DataContext.current(context):
        dataset = _dataset(pending, spec)
    for bundle in dataset.iter_internal_ref_bundles():
        for entry in bundle.blocks:
            if entry.metadata.num_rows:
                yield entry.ref, entry.metadata.size_bytes or 0


def _dataset(pending: Sequence[Pending], spec: PipelineSpec) -> Dataset:
    blocks = ray.data.read_datasource(UnitSource(pending, spec.input), override_num_blocks=len(pending))
    return blocks.map_batches(
        functools.partial(_tokenize_block, tokenization=spec.tokenization),
        batch_size=None,
        batch_format="pyarrow",
        zero_copy_batch=True,
    )


def _read_blocks(pending: Pending, spec: InputSpec) -> Iterable[pa.Table]:
    for block in read(pending, spec):
        yield pack_block(block)


def _tokenize_block(packed: pa.Table, tokenization: Tokenization) -> pa.Table:
    # A task has one CPU: more threads of the tokenizer would take the CPUs of the encoders.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if packed.num_rows == 0:
        return packed
    return pack_block(tokenize_block(unpack_block(packed), tokenization))
