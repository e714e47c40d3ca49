"""What a model's pools would do of a job: its tokens from a sample, their rates by trying."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from corpusmill.jobs.plan_size import OutputSize
from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.encode import Encoder
from corpusmill.pipeline.engine.devices import on_this_machine
from corpusmill.pipeline.errors import JobFailed
from corpusmill.pipeline.spec import ModelSpec, PoolSpec, pool_name

Lengths = np.ndarray[Any, np.dtype[np.int64]]

MEASURED_TOKENS = 16_384
"""Tokens that a pool is measured on: one or two seconds for a small model."""


@dataclass(frozen=True, slots=True)
class ModelEstimate:
    """A pool's part of its model's tokens, its workers, their rate together, and the seconds that makes.

    `pool` is one of several of a model, which share its tokens as their rates are, else "". One that can
    neither be measured on this machine nor was given a rate has none, and no part.
    """

    model: str
    device: str
    dtype: str
    workers: int
    tokens: int
    tokens_per_second: float
    seconds: float
    pool: str = ""

    @property
    def name(self) -> str:
        """What people read of it."""
        return pool_name(self.model, self.pool)


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
) -> list[ModelEstimate]:
    """Estimate a model's pools; those without a rate among `rates` are measured where this machine can.

    The first pool that can be held here tokenizes and makes the sample's results for all.
    """
    tokens: int | None = None
    each: list[float] = []
    for pool in model.by_pool:
        given = rates.get(pool.pool_name, rates.get(pool.title, rates.get("")))
        if on_this_machine(pool.device) and (given is None or tokens is None):
            encoder = Encoder(pool)  # one at a time: it sets the threads of this process
            tokens = sample.tokens(encoder) if tokens is None else tokens
            given = _measure(encoder, sample.blocks) if given is None and tokens else given
        each.append(given or 0.0)
    if tokens is None:
        raise JobFailed(
            f"{model.title}: no pool of it can be held on this machine, so nothing can be sampled"
        )
    workers = [
        _at_work(pool.pool, tokens, rate, drain_seconds)
        for pool, rate in zip(model.by_pool, each, strict=True)
    ]
    rates_of_pools = [rate * count if tokens else 0.0 for rate, count in zip(each, workers, strict=True)]
    return _shared(model, tokens, rates_of_pools, workers)


def _at_work(pool: PoolSpec, tokens: int, rate: float, drain_seconds: float) -> int:
    """Return the workers that a pool grows to: those that drain its queue in time (docs/decisions/0010)."""
    needed = math.ceil(tokens / rate / drain_seconds) if rate else pool.workers
    return max(1, pool.min_workers, min(needed, pool.workers))


def _shared(
    model: ModelSpec, tokens: int, rates: Sequence[float], workers: Sequence[int]
) -> list[ModelEstimate]:
    together = sum(rates)
    seconds = tokens / together if together else 0.0
    return [
        ModelEstimate(
            pool.title,
            pool.device,
            pool.dtype,
            count,
            part,
            round(rate, 1),
            round(seconds, 1) if rate else 0.0,
            pool.label,
        )
        for pool, rate, count, part in zip(model.by_pool, rates, workers, _parts(tokens, rates), strict=True)
    ]


def _parts(tokens: int, rates: Sequence[float]) -> list[int]:
    """Divide tokens as the rates are; the sum stays."""
    together = sum(rates)
    ends = [round(tokens * sum(rates[: i + 1]) / together) if together else tokens for i in range(len(rates))]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


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
        done += encoder.encode(block)[1].tokens
        if done >= MEASURED_TOKENS:
            break
    return done / max(time.perf_counter() - started, 1e-9)
