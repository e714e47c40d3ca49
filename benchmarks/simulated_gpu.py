"""The share of a GPU's rate that a whole job reaches: the engine's real processes around a simulated device.

    python benchmarks/simulated_gpu.py --corpus FILE --tokenizer FILE --output FOLDER

A batch takes tokens / RATE seconds on the device and LAUNCH seconds in Python, and returns prepared vectors
of DistilBERT's width. Units are tokenized beforehand and enter the object store when the engine takes them,
so that reading needs no core. Prints one JSON object.
"""

import argparse
import json
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import ray

sys.path.insert(0, str(Path(__file__).parent))

import host_path
from corpusmill.jobs.bench.job import blocks_of, job_over, resolved
from corpusmill.jobs.bench.settings import Settings
from corpusmill.jobs.bench.shapes import checkpoint_of
from corpusmill.models import PackedTokens
from corpusmill.models.outputs import EmbeddingOutput, EncoderOutput
from corpusmill.pipeline.blocks import pack_block
from corpusmill.pipeline.encode.encoder import Encoder
from corpusmill.pipeline.encode.overlap import InOrderExecutor
from corpusmill.pipeline.engine import ray_engine
from corpusmill.pipeline.engine.cluster import working_folder
from corpusmill.pipeline.engine.feeder import Feeder
from corpusmill.pipeline.engine.ray_engine import RayEngine
from corpusmill.pipeline.engine.source import open_units
from corpusmill.pipeline.engine.stages import tokenize_block
from corpusmill.pipeline.engine.workers import EncodeWorker
from corpusmill.pipeline.input.planning import Pending
from corpusmill.pipeline.output.receipts import Receipt
from corpusmill.pipeline.spec import ModelSpec, PipelineSpec, PoolSpec
from host_path import SHAPE, TOKENS_PER_BATCH, ReadyVectors, without_model_cost

LAUNCH = 0.0025
"""Seconds of Python that a batch's kernels take to launch."""


class SimulatedDevice(ReadyVectors):
    """A device that computes one batch after the other, each for as long as its tokens take."""

    def __init__(self, width: int, rate: float) -> None:
        super().__init__(width)
        self.rate, self.free_at, self.lock = rate, 0.0, threading.Lock()
        self.busy = 0.0

    def forward(self, _encoded: EncoderOutput, packed: PackedTokens, _targets: Any) -> EmbeddingOutput:
        launched = time.perf_counter() + LAUNCH
        while time.perf_counter() < launched:
            pass
        taken = len(packed.input_ids) / self.rate
        with self.lock:
            self.free_at = max(self.free_at, time.perf_counter()) + taken
            ready = self.free_at
        time.sleep(max(0.0, ready - time.perf_counter()))
        return super().forward(_encoded, packed, _targets)


class SimulatedWorker(EncodeWorker):
    """An encode worker with a simulated device."""

    def __init__(self, spec: ModelSpec, rate: float) -> None:
        super().__init__(spec)
        simulate_device(self._encoder, rate)


def simulate_device(encoder: Encoder, rate: float) -> None:
    """Let an encoder compute on a simulated device."""
    without_model_cost(encoder)
    encoder._model.head = SimulatedDevice(encoder._model.checkpoint.width, rate)
    encoder._executor = InOrderExecutor(2, lambda: None)


def starter(rate: float) -> Callable[[ModelSpec], Any]:
    """Return a function that starts workers with a simulated device."""
    for module in (sys.modules[__name__], host_path):
        ray.cloudpickle.register_pickle_by_value(module)

    def start(spec: ModelSpec) -> Any:
        options = {"num_cpus": 0, "max_concurrency": spec.pool.at_once}
        return ray.remote(**options)(SimulatedWorker).remote(spec, rate)

    return start


def main() -> None:
    """Run the corpus several times over and print the rates."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--rate", type=float, default=4.8e6)
    parser.add_argument("--rows-per-unit", type=int, default=0)
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--compression", default=None)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            print(json.dumps(measure(given, Path(folder)), indent=1))
        finally:
            shutil.rmtree(given.output, ignore_errors=True)


def measure(given: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Run a job over the corpus and return its rates, without the first fifth of the units."""
    settings = Settings(tokenizer=given.tokenizer, tokens_per_batch=TOKENS_PER_BATCH)
    texts = pq.read_table(given.corpus, columns=["text"])["text"].to_pylist()
    checkpoint = checkpoint_of(SHAPE, work, tokenizer=given.tokenizer)
    config = job_over(texts, checkpoint, work, settings, dtype="bfloat16")
    if given.rows_per_unit:
        reading = config.input.model_copy(update={"rows_per_unit": given.rows_per_unit})
        config = config.model_copy(update={"input": reading})
    job, model = resolved(config, threads=1)
    n = given.workers
    model = replace(model, pool=PoolSpec(n, 1, min_workers=n, at_once=given.at_once))
    blocks = [tokenize_block(block, job.spec.tokenization) for block in blocks_of(job)]
    splits = [
        replace(split, file=replace(split.file, url=f"{split.file.url}-{copy}"))
        for copy in range(given.times)
        for split in job.splits
    ]
    rows = [(split, block) for split in splits for block in blocks]

    def source() -> Iterator[tuple[Any, int]]:
        for split, block in rows:
            row = pack_block(replace(block, unit=split.unit(block.unit.offset)))
            yield ray.put(row), row.nbytes

    output = replace(job.spec.output, url=given.output, compression=given.compression)
    spec = PipelineSpec(job.spec.input, (model,), output)
    with working_folder(str(work)):
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    ray_engine.unit_feeder = lambda _, __: Feeder(source, max_units=open_units([model.pool]), max_bytes=10**9)
    ray_engine.start_encoder = starter(given.rate / n)
    engine = RayEngine(spec)
    done: list[tuple[float, int, int]] = []
    for outcome in engine.run([Pending(split, frozenset()) for split in splits]):
        if isinstance(outcome, Receipt):
            done.append((time.perf_counter(), outcome.record.tokens, outcome.record.rows))
        elif outcome is not None:
            print(outcome, file=sys.stderr)
    first = len(done) // 5
    seconds = done[-1][0] - done[first - 1][0]
    tokens = sum(each[1] for each in done[first:])
    return {
        "units": len(done),
        "rows a unit": round(sum(each[2] for each in done) / len(done)),
        "documents/s": round(sum(each[2] for each in done[first:]) / seconds),
        "tokens/s": round(tokens / seconds),
        "of the device's rate": round(tokens / seconds / given.rate, 3),
        "stages": {f"{found.stage}": found.busy_seconds for found in engine.times()},
    }


if __name__ == "__main__":
    main()
