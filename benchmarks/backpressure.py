"""The object store's use by a job whose reader is far faster than its model.

    python benchmarks/backpressure.py FOLDER [--seconds SECONDS]

The input is 10 GB of JSONL in FOLDER (one file under a hundred names), the model takes twenty seconds per
unit, the store has 600 MB. Stops after SECONDS and prints one JSON object: the largest use of the store, and
the bytes spilled to disk.
"""

import argparse
import json
import os
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import ray
from ray._private.internal_api import node_stats

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the slow workers are the tests' own

from support.slow import starter
from support.tiny_checkpoints import write_checkpoint

from corpusmill.jobs import JobConfig
from corpusmill.jobs.resolve.job import resolve
from corpusmill.jobs.resolve.workers import size_pools
from corpusmill.pipeline.engine import ray_engine
from corpusmill.pipeline.engine.ray_engine import RayEngine
from corpusmill.pipeline.input.planning import Pending
from corpusmill.pipeline.spec import PipelineSpec

FILES, FILE_BYTES, STORE, UNIT_SECONDS = 100, 100_000_000, 600_000_000, 20.0
WORDS = "the water moves under a bridge and people walk home in the light of an old city"


def corpus(folder: Path) -> Path:
    """Write one file of 100 MB under a hundred names, 10 GB of input; return their folder."""
    made = folder / "corpus"
    made.mkdir(parents=True, exist_ok=True)
    first = made / "part-000.jsonl"
    if not first.exists():
        with first.open("w", encoding="utf-8") as stream:
            row = 0
            while stream.tell() < FILE_BYTES:
                lines = [json.dumps({"id": row + i, "body": f"{row + i} {WORDS * 12}"}) for i in range(1_000)]
                stream.write("\n".join(lines) + "\n")
                row += 1_000
        for number in range(1, FILES):
            os.link(first, made / f"part-{number:03d}.jsonl")
    return made


def spec(folder: Path) -> tuple[PipelineSpec, list[Pending]]:
    """Return the resolved job, which keeps the text, so that units are as large as their input."""
    checkpoint = folder / "checkpoint"
    if not checkpoint.exists():
        write_checkpoint(checkpoint, "bert", "embedding", seed=1)
    fields = {
        "name": "backpressure",
        "input": {"path": str(corpus(folder)), "text": "body", "keep": ["id", "body"]},
        "models": [{"checkpoint": str(checkpoint), "pool": {"max_workers": 1}}],
        "output": {"path": str(folder / "out")},
    }
    job = resolve(JobConfig.from_dict(fields))
    models = size_pools(job.models, cpus=2, gpus=0, units=10**6)
    pending = [Pending(split, frozenset()) for split in job.splits]
    return PipelineSpec(job.spec.input, models, job.spec.output), pending


def store() -> Any:
    """Return Ray's statistics of the object store."""
    (node,) = ray.nodes()
    return node_stats(node["NodeManagerAddress"], node["NodeManagerPort"]).store_stats


def measure(folder: Path, seconds: float) -> None:
    """Run the job for this long, read the store's statistics each second, and print the result."""
    job, pending = spec(folder)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=STORE)
    ray_engine.start_encoder = starter({"": UNIT_SECONDS})
    engine = RayEngine(job)
    began, most, sampled, committed, samples = time.monotonic(), 0, 0.0, 0, []
    with closing(engine.run(pending)) as outcomes:
        for outcome in outcomes:
            committed += outcome is not None and hasattr(outcome, "record")
            now = time.monotonic()
            if now - sampled >= 1:
                sampled = now
                stats = store()
                most = max(most, stats.object_store_bytes_used)
                samples.append(stats.object_store_bytes_used)
            if now - began >= seconds:
                break
    stats = store()
    read, encode = engine.times()[0], engine.times()[2]
    waiting = engine.state().pools[0]
    print(
        json.dumps(
            {
                "input_gb": sum(path.stat().st_size for path in corpus(folder).iterdir()) / 1e9,
                "seconds": round(now - began),
                "store_mb": STORE / 1e6,
                "most_mb": round(most / 1e6, 1),
                "last_mb": round(samples[-1] / 1e6, 1),
                "spilled_mb": round(stats.spilled_bytes_total / 1e6, 1),
                "units_read": read.units,
                "units_committed": committed,
                "queued_units": waiting.queued_units,
                "blocked_seconds": read.blocked_seconds,
                "reader_seconds_a_unit": round(read.busy_seconds / max(read.units, 1), 3),
                "model_seconds_a_unit": round(encode.busy_seconds / max(encode.units, 1), 1),
            }
        )
    )


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where the corpus and the checkpoint go")
    parser.add_argument("--seconds", type=float, default=120.0)
    given = parser.parse_args()
    measure(given.folder.absolute(), given.seconds)


if __name__ == "__main__":
    main()
