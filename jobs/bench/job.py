"""The rate of a whole job against that of its model stage, and the time of each stage."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from corpusmill.jobs.bench.results import Findings, Table, best_seconds
from corpusmill.jobs.bench.settings import Settings
from corpusmill.jobs.bench.shapes import checkpoint_of
from corpusmill.jobs.bench.texts import texts_of
from corpusmill.jobs.config.schema import JobConfig
from corpusmill.jobs.driver.runner import run
from corpusmill.jobs.resolve.job import ResolvedJob, resolve
from corpusmill.jobs.resolve.workers import size_pools
from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.encode.batches import token_batches
from corpusmill.pipeline.encode.encoder import Encoder
from corpusmill.pipeline.engine.stages import read, tokenize_block
from corpusmill.pipeline.input.planning import Pending
from corpusmill.pipeline.output.commit import commit
from corpusmill.pipeline.output.rejects import ResultPart, join_result_parts
from corpusmill.pipeline.spec import ModelSpec

SHAPE = "distilbert"


def measure(settings: Settings, work: Path) -> Findings:
    """Run a job on Ray, the same job in one process, and its stages one by one."""
    (shape,) = settings.architectures[:1] or (SHAPE,)
    dtype = settings.dtypes[0]
    checkpoint = checkpoint_of(shape, work, tokenizer=settings.tokenizer)
    config = job_over(texts_of(settings), checkpoint, work, settings, dtype=dtype)
    alone = _model_rate(config, settings)
    results = {
        executor: run(_with_output(config, work / executor), executor=executor)
        for executor in ("ray", "inline")
    }
    ray = results["ray"]
    rows = [{"what": "model stage alone", "tokens/s": round(alone), "of the model stage": 1.0}]
    rows += [
        {"what": what, "tokens/s": round(rate), "of the model stage": round(rate / alone, 3)}
        for what, rate in (
            ("job on Ray, from the first ready worker on", ray.tokens_per_second),
            ("job on Ray, start to end", ray.tokens / ray.seconds),
            ("job in one process, start to end", results["inline"].tokens / results["inline"].seconds),
        )
    ]
    stages = _stages(config)
    total = sum(stages.values())
    parts = tuple(
        {"stage": name, "seconds": round(seconds, 3), "share": round(seconds / total, 4)}
        for name, seconds in stages.items()
    )
    return Findings(
        f"A whole job: {shape} in {dtype}",
        (Table("Rates", tuple(rows)), Table("CPU time of the stages, one thread, one after another", parts)),
        (
            f"{settings.documents} documents, {ray.tokens:,} tokens, {ray.units} units, "
            f"{ray.workers_peak} worker(s); start-up and end on Ray took "
            f"{ray.seconds - ray.tokens / ray.tokens_per_second:.1f} s.",
        ),
    )


def _with_output(config: JobConfig, output: Path) -> JobConfig:
    return config.model_copy(update={"output": config.output.model_copy(update={"path": str(output)})})


def _model_rate(config: JobConfig, settings: Settings) -> float:
    """Return the model's tokens per second on batches made beforehand, with all threads."""
    job, model = resolved(config, threads=settings.threads)
    encoder = Encoder(replace(model, pool=replace(model.pool, cpus=settings.threads)))
    blocks = [tokenize_block(block, job.spec.tokenization) for block in blocks_of(job)]
    batches = [
        batch
        for block in blocks
        for batch in token_batches(encoder.prepare(block).sequences, tokens_per_batch=model.tokens_per_batch)
    ]
    runs = {"model": lambda: [encoder.values(batch) for batch in batches]}
    best, _ = best_seconds(runs, rounds=settings.rounds, threads=0)
    return sum(len(batch.ids) for batch in batches) / best["model"]


def _stages(config: JobConfig) -> dict[str, float]:
    """Return the CPU seconds of each stage of the record path, with the forward pass as one of them."""
    job, model = resolved(config, threads=1)
    clock = _StageTimer()
    encoder = Encoder(model)
    blocks: list[UnitBlock] = []
    with clock.of("read"):
        blocks += blocks_of(job)
    with clock.of("tokenize"):
        blocks = [tokenize_block(block, job.spec.tokenization) for block in blocks]
    for block in blocks:
        with clock.of("lay out"):
            sequences = encoder.prepare(block).sequences
            batches = list(token_batches(sequences, tokens_per_batch=model.tokens_per_batch))
        with clock.of("model"):
            for batch in batches:
                encoder.values(batch)
        with clock.of("encode, total"):
            encoded = encoder.encode(block)
        with clock.of("commit"):
            output = replace(job.spec.output, url=job.spec.output.url + "-stages")
            commit(
                block,
                [join_result_parts([ResultPart(0, encoded.columns)], {})],
                output,
                tokens=encoded.stats.tokens,
            )
    whole = clock.seconds.pop("encode, total")
    clock.seconds["columns"] = max(0.0, whole - clock.seconds["lay out"] - clock.seconds["model"])
    return clock.seconds


class _StageTimer:
    """The sums of this process's CPU seconds by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Add the seconds of the block."""
        started = time.process_time()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - started


# A small job over given texts, resolved like a user's, whose stages can be run one by one.


def job_over(
    texts: Iterable[str], checkpoint: Path, work: Path, settings: Settings, *, dtype: str, name: str = "job"
) -> JobConfig:
    """Write the texts as a Parquet file and return the job that embeds them."""
    corpus = work / f"{name}.parquet"
    if not corpus.exists():
        pq.write_table(pa.table({"text": pa.array(list(texts), pa.string())}), corpus)
    fields: dict[str, Any] = {
        "name": name,
        "input": {"path": str(corpus), "text": "text"},
        "models": [
            {
                "checkpoint": str(checkpoint),
                "task": "embedding",
                "dtype": dtype,
                "tokens_per_batch": settings.tokens_per_batch,
            }
        ],
        "output": {"path": str(work / f"{name}-output")},
    }
    return JobConfig.from_dict(fields)


def blocks_of(job: ResolvedJob) -> Iterable[UnitBlock]:
    """Yield a job's units."""
    for split in job.splits:
        yield from read(Pending(split, frozenset()), job.spec.input)


def resolved(config: JobConfig, *, threads: int) -> tuple[ResolvedJob, ModelSpec]:
    """Resolve a job, and its model with one worker of this many threads."""
    job = resolve(config)
    (model,) = size_pools(job.models, cpus=threads, gpus=0, units=1)
    return job, model
