"""What a job would do, without writing anything: files, units, rows, token lengths, time and cost."""

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import torch

from corpusmill.jobs.config import JobConfig
from corpusmill.jobs.pools import size_pools
from corpusmill.jobs.resolve import ResolvedJob, resolve
from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.encode import Encoder
from corpusmill.pipeline.readers import READERS
from corpusmill.pipeline.spec import ModelSpec
from corpusmill.pipeline.tokens import tokenize
from corpusmill.pipeline.units import Split

Lengths = np.ndarray[Any, np.dtype[np.int64]]

SAMPLE_ROWS = 256
SAMPLE_FILES = 8
COUNTED_BYTES = 1 << 30
"""Input without row counts of its own is counted up to this size, and estimated beyond."""
EDGES = (0, 8, 16, 32, 64, 128, 256, 512, 1024)
MEASURED_TOKENS = 16_384
"""Tokens that a model is measured on: one or two seconds for a small one."""


@dataclass(frozen=True, slots=True)
class ModelEstimate:
    """A model's part: tokens in all, its measured rate with all its workers, and the seconds that makes."""

    model: str
    device: str
    dtype: str
    workers: int
    tokens: int
    tokens_per_second: float
    seconds: float


@dataclass(frozen=True)
class PlanResult:
    """What a job would do.

    `rows` is exact if `rows_exact`, else projected from a sample. `tokens` is the sum over the models;
    `seconds` is the slowest model's time, start-up not counted; `worker_hours` the sum over all workers.
    `length_histogram` maps "up to n tokens" to the number of sampled rows (after cutting, first model).
    """

    output: str
    files: int
    bytes: int
    units: int
    rows: int
    rows_exact: bool
    tokens: int
    seconds: float
    worker_hours: float
    sampled_rows: int
    length_histogram: dict[str, int]
    models: tuple[ModelEstimate, ...]


def plan(config: JobConfig, *, origin: str = "job", cpus: int | None = None) -> PlanResult:
    """Resolve a job, sample its rows and measure its models on this machine for a moment each."""
    job = resolve(config, origin)
    counts, exact = _rows(job.splits)
    rows = sum(counts)
    blocks = _sample(job)
    sampled = sum(block.rows for block in blocks)
    lengths: list[Lengths] = []
    estimates = tuple(_estimate(model, blocks, rows, lengths) for model in _sized(job, cpus))
    return PlanResult(
        output=job.spec.output.url,
        files=len(job.files),
        bytes=sum(file.size for file in job.files),
        units=sum(
            math.ceil(count / split.rows_per_unit) for count, split in zip(counts, job.splits, strict=True)
        ),
        rows=rows,
        rows_exact=exact,
        tokens=sum(estimate.tokens for estimate in estimates),
        seconds=round(max((estimate.seconds for estimate in estimates), default=0.0), 1),
        worker_hours=round(sum(e.seconds * e.workers for e in estimates) / 3600, 4),
        sampled_rows=sampled,
        length_histogram=_histogram(lengths[0]),
        models=estimates,
    )


def _rows(splits: Sequence[Split]) -> tuple[list[int], bool]:
    """Count each split's rows: from footers, by reading what is small, by projection beyond."""
    counts, exact, budget = [], True, COUNTED_BYTES
    for split in splits:
        size = split.stop - split.start
        if split.rows is not None:
            counts.append(split.rows)
        elif size <= budget:
            budget -= size
            counts.append(READERS[split.format].count(split))
        else:
            counts.append(split.about_rows)
            exact = False
    return counts, exact


def _sample(job: ResolvedJob) -> list[UnitBlock]:
    """Read the first rows of splits spread over the input, tokenized for every model."""
    step = max(1, len(job.splits) // SAMPLE_FILES)
    chosen = [replace(split, rows_per_unit=SAMPLE_ROWS) for split in job.splits[::step][:SAMPLE_FILES]]
    spec = replace(job.spec.input, on_bad_row="reject")
    blocks = (
        block for split in chosen for block in islice(READERS[split.format].read(split, spec, frozenset()), 1)
    )
    return [tokenize(block, job.spec.tokenization) for block in blocks]


def _sized(job: ResolvedJob, cpus: int | None) -> tuple[ModelSpec, ...]:
    units = sum(split.about_units for split in job.splits)
    return size_pools(
        job.models, cpus=cpus or os.cpu_count() or 1, gpus=torch.cuda.device_count(), units=units
    )


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


def _histogram(lengths: Lengths) -> dict[str, int]:
    counts, _ = np.histogram(lengths, bins=[edge + 1 for edge in EDGES] + [np.iinfo(np.int64).max])
    names = [f"<={edge}" for edge in EDGES[1:]] + [f">{EDGES[-1]}"]
    return {name: int(count) for name, count in zip(names, counts, strict=True) if count}


def _estimate(
    model: ModelSpec, blocks: Sequence[UnitBlock], rows: int, lengths: list[Lengths]
) -> ModelEstimate:
    """Estimate a model's part; the sampled rows' lengths are added to `lengths`."""
    encoder = Encoder(model)
    total, found = _lengths(encoder, blocks)
    lengths.append(found)
    tokens = round(total / max(sum(block.rows_read for block in blocks), 1) * rows)
    rate = _measure(encoder, blocks) * model.pool.workers if tokens else 0.0
    seconds = tokens / rate if rate else 0.0
    return ModelEstimate(
        model.title, model.device, model.dtype, model.pool.workers, tokens, round(rate, 1), round(seconds, 1)
    )


def _measure(encoder: Encoder, blocks: Sequence[UnitBlock]) -> float:
    """Return a worker's tokens per second, on sampled rows after one round to warm up."""
    few = [replace(block, inputs=block.inputs.slice(0, 16)) for block in blocks[:1]]
    for block in few:
        encoder.encode(block)
    done, started = 0, time.perf_counter()
    for block in blocks:
        done += encoder.encode(block).tokens
        if done >= MEASURED_TOKENS:
            break
    return done / max(time.perf_counter() - started, 1e-9)
