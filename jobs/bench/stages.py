"""A small job over measured texts, resolved as a user's would be, for stages to be run one by one."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from corpusmill.jobs.bench.settings import Settings
from corpusmill.jobs.config import JobConfig
from corpusmill.jobs.pools import size_pools
from corpusmill.jobs.resolve import ResolvedJob, resolve
from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.engine.stages import read
from corpusmill.pipeline.planning import Pending
from corpusmill.pipeline.spec import ModelSpec


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
    """Read a job's units."""
    for split in job.splits:
        yield from read(Pending(split, frozenset()), job.spec.input)


def resolved(config: JobConfig, *, threads: int) -> tuple[ResolvedJob, ModelSpec]:
    """Resolve a job, and its model with one worker of so many threads."""
    job = resolve(config)
    (model,) = size_pools(job.models, cpus=threads, gpus=0, units=1)
    return job, model
