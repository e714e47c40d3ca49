"""A reader that is far ahead of its model is held back: what waits stays in a share of the object store."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import ray
from ray._private.internal_api import node_stats
from support.slow import starter

from corpusmill.jobs import JobConfig
from corpusmill.jobs.pools import size_pools
from corpusmill.jobs.resolve import resolve
from corpusmill.pipeline.engine import ray_engine, source
from corpusmill.pipeline.engine.ray_engine import RayEngine
from corpusmill.pipeline.planning import Pending
from corpusmill.pipeline.receipts import Receipt
from corpusmill.pipeline.spec import PipelineSpec

pytestmark = pytest.mark.usefixtures("ray_cluster")
FILES, UNITS, UNIT = 2, 50, 2_000_000
STORE = 80_000_000
"""What the engine is told of the store: half of it may be taken; the input is 2.5 times as large."""


def used() -> tuple[int, int]:
    """Bytes in the object store, and bytes that were spilled from it."""
    (node,) = (node for node in ray.nodes() if node["Alive"])
    stats = node_stats(node["NodeManagerAddress"], node["NodeManagerPort"]).store_stats
    return stats.object_store_bytes_used, stats.spilled_bytes_total


def write(folder: Path) -> None:
    """Two files of many units each, so that a task that is under way could go on for long."""
    folder.mkdir()
    rows = UNIT // 2_000
    for number in range(FILES):
        with (folder / f"{number}.jsonl").open("w", encoding="utf-8") as stream:
            for i in range(UNITS * rows):
                more = f"{i * 7919 % 1000003:07d}" * 280
                stream.write(json.dumps({"id": i, "body": "the water", "more": more}) + "\n")


def test_a_reader_stays_within_its_share_of_the_store(
    job: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 200 MB, a quarter of the store waits and as much is on its way; nothing is spilled."""
    write(tmp_path / "large")
    job["input"] |= {"path": str(tmp_path / "large"), "keep": ["id", "more"], "rows_per_unit": UNIT // 2_000}
    monkeypatch.setattr(source, "_store", lambda: float(STORE))
    monkeypatch.setattr(ray_engine, "start_encoder", starter({"": 0.5}))
    resolved = resolve(JobConfig.from_dict(job))
    models = size_pools(resolved.models, cpus=1, gpus=0, units=FILES * UNITS)
    engine = RayEngine(PipelineSpec(resolved.spec.input, models, resolved.spec.output))
    (before, spilled), most, committed = used(), 0, 0
    with closing(engine.run([Pending(split, frozenset()) for split in resolved.splits])) as outcomes:
        for outcome in outcomes:
            committed += isinstance(outcome, Receipt)
            now, spilled_now = used()
            most = max(most, now - before)
            assert spilled_now == spilled
            if committed == 12:
                break
    print(f"{most / 1e6:.0f} MB at most")
    assert UNIT < most < 0.75 * STORE
