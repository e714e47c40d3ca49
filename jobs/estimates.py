"""What a model's pool would do of a job: its tokens from a sample, its rate by trying."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from corpusmill.jobs.plan_size import OutputSize
from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.encode import Encoder
from corpusmill.pipeline.spec import ModelSpec, PoolSpec

Lengths = np.ndarray[Any, np.dtype[np.int64]]

MEASURED_TOKENS = 16_384
"""Tokens that a pool is measured on: one or two seconds for a small model."""


@dataclass(frozen=True, slots=True)
class ModelEstimate:
    """A model's tokens, its workers, their rate together, and the seconds that makes."""

    model: str
    device: str
    dtype: str
    workers: int
    tokens: int
    tokens_per_second: float
    seconds: float


@dataclass
class Sample:
    """Sampled blocks of so many rows in all; each model adds its sequences' lengths and its results' size."""

    blocks: Sequence[UnitBlock]
    rows: int
    size: OutputSize
    lengths: list[Lengths] = field(default_factory=list)

    def tokens(self, encoder: Encoder) -> int:
        """Return the tokens that all rows have for a model, and note what it makes of those sampled."""
        self.size.add(encoder)
        total, found = _lengths(encoder, self.blocks)
        self.lengths.append(found)
        return round(total / max(sum(block.rows_read for block in self.blocks), 1) * self.rows)


def estimate(
    model: ModelSpec, sample: Sample, rates: Mapping[str, float], *, drain_seconds: float
) -> ModelEstimate:
    """Estimate a model's pool; one without a rate among `rates` is measured here."""
    encoder = Encoder(model)  # one at a time: it sets the threads of this process
    tokens = sample.tokens(encoder)
    rate = rates.get(model.title, rates.get(""))
    if rate is None:
        rate = _measure(encoder, sample.blocks) if tokens else 0.0
    workers = _at_work(model.pool, tokens, rate, drain_seconds)
    together = rate * workers if tokens else 0.0
    seconds = tokens / together if together else 0.0
    return ModelEstimate(
        model.title, model.device, model.dtype, workers, tokens, round(together, 1), round(seconds, 1)
    )


def _at_work(pool: PoolSpec, tokens: int, rate: float, drain_seconds: float) -> int:
    """Return the workers that a pool grows to: those that drain its queue in time (docs/decisions/0010)."""
    needed = math.ceil(tokens / rate / drain_seconds) if rate else pool.workers
    return max(1, pool.min_workers, min(needed, pool.workers))


def _lengths(encoder: Encoder, blocks: Sequence[UnitBlock]) -> tuple[int, Lengths]:
    """Return the tokens that go through a model, equal texts once, and those of each row's own input."""
    total, found = 0, [np.zeros(0, np.int64)]
    for block in blocks:
        unit = encoder.prepare(block)
        lengths = unit.sequences.tokens.lengths
        total += int(lengths.sum())
        of_item = np.bincount(unit.sequences.item, lengths, len(unit.items)).astype(np.int64)
        found.append(of_item[unit.items.of_row[unit.items.of_row >= 0]])
    return total, np.concatenate(found)


def _measure(encoder: Encoder, blocks: Sequence[UnitBlock]) -> float:
    """Return a worker's tokens per second, on sampled rows after one round to warm up."""
    few = [replace(block, inputs=block.inputs.slice(0, 16)) for block in blocks[:1]]
    for block in few:
        encoder.encode(block)
    done, started = 0, time.perf_counter()
    for block in blocks:
        done += encoder.encode(block).stats.tokens
        if done >= MEASURED_TOKENS:
            break
    return done / max(time.perf_counter() - started, 1e-9)
