"""Estimates per model: its tokens from sampled rows, its rate from a measurement."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from corpusmill.pipeline.autoscaling.meters import FIRST_STARTUP
from corpusmill.pipeline.autoscaling.snapshot import PoolSnapshot
from corpusmill.pipeline.autoscaling.together import WorkerCost, asked_for
from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.encode.encoder import Encoder
from corpusmill.pipeline.engine.placement import worker_cost
from corpusmill.pipeline.output.commit import data_file
from corpusmill.pipeline.output.receipts import UnitRecord
from corpusmill.pipeline.spec import ModelSpec, OutputSpec

Lengths = np.ndarray[Any, np.dtype[np.int64]]

MEASURED_TOKENS = 16_384
"""Tokens that a pool is measured on: one or two seconds for a small model."""

ENCODED_ROWS = 64
"""Rows that are encoded for the size of the output: they compress about as well as a unit."""


@dataclass(frozen=True, slots=True)
class ModelEstimate:
    """A model's tokens, its workers, their rate together, and the seconds that they take.

    `truncated_rows` is projected from the sample; `truncated_share` is their share of the rows with a text.
    """

    model: str
    device: str
    dtype: str
    workers: int
    tokens: int
    tokens_per_second: float
    seconds: float
    truncated_rows: int = 0
    truncated_share: float = 0.0


# The size of the output: some sampled rows are encoded and written as a data file in memory.


class OutputSize:
    """The results of all models for the same few rows, and the size of the output from them."""

    def __init__(self, blocks: Sequence[UnitBlock], output: OutputSpec) -> None:
        filled = [block for block in blocks if block.rows]
        self._block = filled[0].part(0, min(ENCODED_ROWS, filled[0].rows)) if filled else None
        self._output = output
        self._results: list[pa.Table] = []

    def add(self, encoder: Encoder) -> None:
        """Encode the rows with a model."""
        if self._block is not None:
            self._results.append(encoder.encode(self._block).columns)

    def estimate(self, rows: int, units: int) -> int:
        """Return the bytes of so many rows in so many files, projected from the encoded rows."""
        if self._block is None:
            return 0
        columns = [column for table in (self._block.kept, *self._results) for column in table.columns]
        fields = [field for table in (self._block.kept, *self._results) for field in table.schema]
        table = pa.table(columns, schema=pa.schema(fields))
        empty, filled = self._bytes(table.slice(0, 0)), self._bytes(table)
        return int(units * empty + (filled - empty) / max(table.num_rows, 1) * rows)

    def _bytes(self, table: pa.Table) -> int:
        name = self._block.unit.name if self._block is not None else ""
        record = UnitRecord(name, "", 0, 0, table.num_rows, 0, table.num_rows, 0, False)
        return int(data_file(table, record, self._output).nbytes)


@dataclass(frozen=True, slots=True)
class SampledCounts:
    """A model's tokens for the sampled rows, equal texts once; its rows with a text, and truncated rows."""

    tokens: int
    rows: int
    truncated_rows: int


@dataclass
class SampledRows:
    """Sampled blocks of an input of `rows` rows; each model adds its lengths and its results."""

    blocks: Sequence[UnitBlock]
    rows: int
    size: OutputSize
    lengths: list[Lengths] = field(default_factory=list)

    def counts(self, encoder: Encoder) -> SampledCounts:
        """Return a model's counts for the sampled rows, and add its lengths and results for them."""
        self.size.add(encoder)
        counts, lengths_of_rows = _counts(encoder, self.blocks)
        self.lengths.append(lengths_of_rows)
        return counts

    def projected(self, count: int) -> int:
        """Return a count of the sampled rows for all rows."""
        return round(count / max(sum(block.rows_read for block in self.blocks), 1) * self.rows)


@dataclass(frozen=True, slots=True)
class MeasuredModel:
    """A model's tokens and truncated rows in the whole input, and the tokens per second of one worker."""

    model: ModelSpec
    tokens: int
    rate: float
    truncated_rows: int
    truncated_share: float


def measure_model(model: ModelSpec, sample: SampledRows, rates: Mapping[str, float]) -> MeasuredModel:
    """Return a model's tokens by the sample, and its rate from `rates`, or measured here."""
    encoder = Encoder(model)  # one at a time: it sets the threads of this process
    counts = sample.counts(encoder)
    rate = rates.get(model.title, rates.get(""))
    if rate is None:
        rate = _measure_rate(encoder, sample.blocks) if counts.tokens else 0.0
    return MeasuredModel(
        model,
        sample.projected(counts.tokens),
        rate,
        sample.projected(counts.truncated_rows),
        counts.truncated_rows / max(counts.rows, 1),
    )


def estimates(
    models: Sequence[MeasuredModel], *, cpus: int, gpus: int, units: int, drain_seconds: float | None
) -> tuple[ModelEstimate, ...]:
    """Estimate the models' pools together; the rule of a run determines their workers."""
    if drain_seconds is None:
        workers = _workers_for_soonest_end(models, room={"cpu": float(cpus), "gpu": float(gpus)}, units=units)
    else:
        workers = [_workers_for_drain_time(each, drain_seconds) for each in models]
    return tuple(_estimate(*each) for each in zip(models, workers, strict=True))


def _workers_for_soonest_end(
    models: Sequence[MeasuredModel], *, room: Mapping[str, float], units: int
) -> list[int]:
    """Return the workers that end the job soonest on a machine without other jobs (docs/decisions/0019)."""
    costs = [WorkerCost("gpu" if each.model.pool.gpus else "cpu", worker_cost(each.model)) for each in models]
    snapshots = [
        PoolSnapshot(
            queued_tokens=each.tokens,
            in_flight_tokens=0,
            units=units,
            running=each.model.pool.min_workers,
            starting=0,
            rate=each.rate or None,
            startup_seconds=FIRST_STARTUP,
            min_workers=each.model.pool.min_workers,
            max_workers=each.model.pool.workers,
            finished=True,
        )
        for each in models
    ]
    needs = asked_for(costs, snapshots, room=room, drain_seconds=None)
    return [max(1, pool.min_workers, need.workers) for pool, need in zip(snapshots, needs, strict=True)]


def _workers_for_drain_time(each: MeasuredModel, drain_seconds: float) -> int:
    """Return the workers that drain a pool's queue in the drain time (docs/decisions/0010)."""
    pool = each.model.pool
    needed = math.ceil(each.tokens / each.rate / drain_seconds) if each.rate else pool.workers
    return max(1, pool.min_workers, min(needed, pool.workers))


def _estimate(each: MeasuredModel, workers: int) -> ModelEstimate:
    together = each.rate * workers if each.tokens else 0.0
    seconds = each.tokens / together if together else 0.0
    model = each.model
    return ModelEstimate(
        model.title,
        model.device,
        model.dtype,
        workers,
        each.tokens,
        round(together, 1),
        round(seconds, 1),
        each.truncated_rows,
        round(each.truncated_share, 6),
    )


def _counts(encoder: Encoder, blocks: Sequence[UnitBlock]) -> tuple[SampledCounts, Lengths]:
    """Return a model's counts, and the length of each row's input."""
    total = rows = truncated = 0
    of_rows = [np.zeros(0, np.int64)]
    for block in blocks:
        unit = encoder.prepare(block)
        lengths = unit.sequences.tokens.lengths
        total += int(lengths.sum())
        rows += unit.rows_of(unit.sequences.item)
        truncated += unit.truncated_rows
        of_item = np.bincount(unit.sequences.item, lengths, len(unit.items)).astype(np.int64)
        of_rows.append(of_item[unit.items.of_row[unit.items.of_row >= 0]])
    return SampledCounts(total, rows, truncated), np.concatenate(of_rows)


def _measure_rate(encoder: Encoder, blocks: Sequence[UnitBlock]) -> float:
    """Return the tokens per second of one worker on sampled rows, after a warm-up."""
    warm_up = [replace(block, inputs=block.inputs.slice(0, 16)) for block in blocks[:1]]
    for block in warm_up:
        encoder.encode(block)
    done, started = 0, time.perf_counter()
    for block in blocks:
        done += encoder.encode(block).stats.tokens
        if done >= MEASURED_TOKENS:
            break
    return done / max(time.perf_counter() - started, 1e-9)
