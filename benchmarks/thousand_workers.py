"""The driver's load with a thousand workers that wait ten seconds per unit.

    python benchmarks/thousand_workers.py [--seconds SECONDS] [--workers N]

The workers share a few Ray actors, with the calls, results and objects of a thousand. Reading and committing
do nothing. Prints one JSON object: the CPU seconds of the driver's process per second of the run, once all
workers are busy.
"""

import argparse
import asyncio
import json
import os
import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import ray

from corpusmill.jobs.progress.tally import Tally
from corpusmill.pipeline.blocks import UnitBlock, pack_block
from corpusmill.pipeline.encode.encoded import EncodeStats
from corpusmill.pipeline.engine import committers, ray_engine
from corpusmill.pipeline.engine import source as unit_source
from corpusmill.pipeline.engine.committers import Committed
from corpusmill.pipeline.engine.ray_engine import RayEngine
from corpusmill.pipeline.engine.workers import Ready
from corpusmill.pipeline.input.planning import Pending
from corpusmill.pipeline.input.units import Split
from corpusmill.pipeline.output.receipts import Receipt, UnitRecord
from corpusmill.pipeline.spec import InputSpec, ModelSpec, OutputSpec, PipelineSpec, PoolSpec, TokenizerSpec
from corpusmill.pipeline.storage import StoredFile

ACTORS, UNIT_SECONDS, TOKENS = 4, 10.0, 1_000
TOKENIZER = TokenizerSpec("c", "d", "c")
SPLIT = Split(StoredFile("/in", 1, "m"), "parquet", 0, 0, 10**9, 10**9, 10**9, 0, 1)


@ray.remote(num_cpus=0, max_concurrency=1_000)  # type: ignore[untyped-decorator]
class ManyWorkers:
    """Many workers in one process."""

    async def ready(self) -> Ready:
        """Return at once."""
        return Ready(os.getpid())

    async def encode(self, *_: Any) -> tuple[pa.Table, EncodeStats]:
        """Wait ten seconds and return an empty result."""
        await asyncio.sleep(UNIT_SECONDS)
        return pa.table({}), EncodeStats(TOKENS, 1, seconds=UNIT_SECONDS)

    async def commit(self, *_: Any) -> Committed:
        """Return a receipt without writing a file."""
        node = ray.get_runtime_context().get_node_id()
        return Committed(Receipt(UnitRecord("u", "/in", 0, 0, 1, 0, 1, TOKENS, False), 1, ""), 0.0, node)


def measure(seconds: float, workers: int) -> None:
    """Run the engine and print the driver's load."""
    ray.init(num_cpus=os.cpu_count(), include_dashboard=False, log_to_driver=False)
    shared = [ManyWorkers.remote() for _ in range(ACTORS)]
    count = iter(range(10**9))
    rows = [ray.put(pack_block(_block(i))) for i in range(50)]
    stop = time.monotonic() + 1e9

    def source(*_: Any, **__: Any) -> Iterator[tuple[Any, int]]:
        for i in range(10**9):
            if time.monotonic() > stop:
                return
            yield rows[i % len(rows)], 1_000

    ray_engine.start_encoder = lambda _: shared[next(count) % ACTORS]  # type: ignore[assignment]
    committers.start_committer = lambda *_: shared[next(count) % ACTORS]  # type: ignore[assignment]
    unit_source.tokenized_blocks = source
    reading = InputSpec("text", None, (), pa.schema([("text", pa.string())]))
    pool = PoolSpec(workers, 1, min_workers=workers)
    model = ModelSpec("m", "", "c", "c", "d", "embedding", "float32", "cpu", 64, None, 2048, TOKENIZER, pool)
    engine = RayEngine(PipelineSpec(reading, (model,), OutputSpec("/nowhere", "arrow", None)))
    tally = Tally((), ())
    began = cpu = 0.0
    units = loops = 0
    for outcome in engine.run([Pending(SPLIT, frozenset())]):
        units += isinstance(outcome, Receipt) and began > 0
        if outcome is None:
            loops += 1
            state = engine.state()
            tally.observe(state)
            busy = state.pools[0].workers == workers and state.pools[0].in_flight_tokens >= workers * TOKENS
            if not began and busy:
                began, cpu, units, loops = time.monotonic(), time.process_time(), 0, 0
                stop = began + seconds
            if began and time.monotonic() > stop:
                break
    wall, spent = time.monotonic() - began, time.process_time() - cpu
    print(
        json.dumps(
            {
                "workers": workers,
                "units_per_second": round(units / wall, 1),
                "driver_cpu_share": round(spent / wall, 3),
                "driver_ms_a_unit": round(1000 * spent / max(units, 1), 3),
                "loops_per_second": round(loops / wall, 1),
                "seconds": round(wall, 1),
            }
        )
    )


def _block(number: int) -> UnitBlock:
    text = pa.table({"text": ["a"]})
    return UnitBlock(
        SPLIT.unit(number), pa.table({}), text, rows_read=1, tokens={TOKENIZER.key: TOKENS}, last=False
    )


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--workers", type=int, default=1000)
    given = parser.parse_args()
    measure(given.seconds, given.workers)


if __name__ == "__main__":
    main()
