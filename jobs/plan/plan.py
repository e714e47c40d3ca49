"""The plan of a job, without any write: files, units, rows, token lengths, time and cost."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import islice

import numpy as np
import torch

from corpusmill.jobs.config.dates import with_run_date
from corpusmill.jobs.config.schema import JobConfig
from corpusmill.jobs.errors import ConfigError, Problem
from corpusmill.jobs.plan.estimates import (
    Lengths,
    ModelEstimate,
    OutputSize,
    SampledRows,
    estimates,
    measure_model,
)
from corpusmill.jobs.resolve.job import ResolvedJob, resolve
from corpusmill.jobs.resolve.workers import size_pools
from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.input.readers import READERS
from corpusmill.pipeline.input.units import Split
from corpusmill.pipeline.machine import usable_cpus
from corpusmill.pipeline.spec import InputSpec, ModelSpec
from corpusmill.pipeline.tokenize.tokens import tokenize

SAMPLE_ROWS = 256
SAMPLES = 8
SAMPLED_WITHIN = 1 << 16
"""The first rows of a split, in which its samples lie: all rows before a sample have to be read."""
COUNTED_BYTES = 1 << 30
"""Inputs without row counts in their files are counted up to this size, and estimated beyond."""
HISTOGRAM_EDGES = (0, 8, 16, 32, 64, 128, 256, 512, 1024)
RAY_START = 10.0
"""Seconds until a local Ray and its first workers are ready: 8 to 12 on two cores."""


@dataclass(frozen=True)
class PlanResult:
    """The plan of a job.

    `rows` is exact if `rows_exact`, else projected from a sample. `tokens` is the sum over the models.
    `seconds` is `startup_seconds` plus the time of the slowest model, or plus the time of all models on all
    cores if that is longer. `worker_hours` is the sum over all workers. `output_bytes` is projected from a
    few rows. `cost` is `worker_hours` at the given price. `length_histogram` maps "up to n tokens" to the
    number of sampled rows (truncated, first model).
    """

    output: str
    files: int
    bytes: int
    units: int
    rows: int
    rows_exact: bool
    tokens: int
    seconds: float
    startup_seconds: float
    worker_hours: float
    output_bytes: int
    cost: float | None
    sampled_rows: int
    length_histogram: dict[str, int]
    models: tuple[ModelEstimate, ...]


def plan(
    config: JobConfig,
    *,
    origin: str = "job",
    cpus: int | None = None,
    rates: Mapping[str, float] | None = None,
    price: float | None = None,
    run_date: date | None = None,
    show_notes: bool = False,
) -> PlanResult:
    """Resolve a job, sample its rows and measure its models on this machine.

    `run_date`, today if not given, is what `{run_date}` in the output's path stands for. `show_notes` prints
    the notes of `run` about the input on standard error. `rates` are tokens per second of one worker by the
    model's title, "" for all other models; they replace the measurement. `price` is that of one worker-hour.
    """
    job = resolve(with_run_date(config, run_date or date.today()), origin, template=config.output.path)
    if show_notes:
        job.print_notes()
    given = dict(rates or {})
    _check_rates(given, job)
    counts, exact = _rows(job.splits)
    rows = sum(counts)
    blocks = _sample(job)
    sampled = sum(block.rows for block in blocks)
    sample = SampledRows(blocks, rows, OutputSize(blocks, job.spec.output))
    units = sum(
        math.ceil(count / split.rows_per_unit) for count, split in zip(counts, job.splits, strict=True)
    )
    machine = cpus or usable_cpus()
    models = estimates(
        [measure_model(model, sample, given) for model in _sized(job, machine)],
        cpus=machine,
        gpus=torch.cuda.device_count(),
        units=units,
        drain_seconds=job.spec.drain_seconds,
    )
    startup = RAY_START if units else 0.0
    worker_hours = round(sum(e.seconds * e.workers for e in models) / 3600, 4)
    return PlanResult(
        output=job.spec.output.url,
        files=len(job.files),
        bytes=sum(file.size for file in job.files),
        units=units,
        rows=rows,
        rows_exact=exact,
        tokens=sum(model.tokens for model in models),
        seconds=round(_seconds(models, machine) + startup, 1),
        startup_seconds=startup,
        worker_hours=worker_hours,
        output_bytes=sample.size.estimate(rows, units),
        cost=None if price is None else round(worker_hours * price, 4),
        sampled_rows=sampled,
        length_histogram=_histogram(sample.lengths[0]),
        models=models,
    )


def _rows(splits: Sequence[Split]) -> tuple[list[int], bool]:
    """Count each split's rows: from footers, by reading small inputs, by projection of large ones."""
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
    """Read rows spread over the input, tokenized for every model."""
    step = max(1, len(job.splits) // SAMPLES)
    chosen = [replace(split, rows_per_unit=SAMPLE_ROWS) for split in job.splits[::step][:SAMPLES]]
    each = math.ceil(SAMPLES / max(len(chosen), 1))
    spec = replace(job.spec.input, on_bad_row="reject")
    blocks = (block for split in chosen for block in _spread(split, spec, each))
    return [tokenize(block, job.spec.tokenization) for block in blocks]


def _spread(split: Split, spec: InputSpec, count: int) -> Iterator[UnitBlock]:
    """Read up to so many units at even distances: the beginning of a sorted file is not typical."""
    parts = max(1, min(split.about_rows, SAMPLED_WITHIN) // SAMPLE_ROWS)
    offsets = {part * parts // count * SAMPLE_ROWS for part in range(count)}
    others = frozenset(range(0, max(offsets), SAMPLE_ROWS)) - offsets
    return islice(READERS[split.format].read(split, spec, others), len(offsets))


def _sized(job: ResolvedJob, cpus: int) -> tuple[ModelSpec, ...]:
    units = sum(split.about_units for split in job.splits)
    return size_pools(job.models, cpus=cpus, gpus=torch.cuda.device_count(), units=units)


def _histogram(lengths: Lengths) -> dict[str, int]:
    counts, _ = np.histogram(lengths, bins=[edge + 1 for edge in HISTOGRAM_EDGES] + [np.iinfo(np.int64).max])
    names = [f"<={edge}" for edge in HISTOGRAM_EDGES[1:]] + [f">{HISTOGRAM_EDGES[-1]}"]
    return {name: int(count) for name, count in zip(names, counts, strict=True) if count}


def _seconds(models: Sequence[ModelEstimate], cpus: int) -> float:
    """Return the seconds of all models: pools on a CPU may have more workers than it has cores."""
    on_cpu = sum(model.seconds * model.workers for model in models if model.device == "cpu")
    return max([on_cpu / cpus, *(model.seconds for model in models)])


def _check_rates(rates: Mapping[str, float], job: ResolvedJob) -> None:
    titles = list(dict.fromkeys(model.spec.title for model in job.models))
    for name in rates:
        if name and name not in titles:
            raise ConfigError([Problem("--rate", f"expected one of {', '.join(titles)}, got {name!r}")])
