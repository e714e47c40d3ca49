"""A reader that is far ahead of its model is held back: what waits stays in a share of the object store."""

import json
import time
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import ray
from ray._private.internal_api import node_stats
from support.slow import starter

from corpusmill.jobs import JobConfig
from corpusmill.jobs.resolve.job import resolve
from corpusmill.jobs.resolve.workers import size_pools
from corpusmill.pipeline.engine import ray_engine, source
from corpusmill.pipeline.engine.messages import Outcome
from corpusmill.pipeline.engine.ray_engine import RayEngine
from corpusmill.pipeline.input.planning import Pending
from corpusmill.pipeline.output.receipts import Receipt
from corpusmill.pipeline.spec import PipelineSpec

pytestmark = pytest.mark.usefixtures("ray_cluster")
UNIT = 1_000_000
LONGEST = 120
"""Seconds that a run of twelve units may take on a busy machine, a hundred times what it should."""
STORE = 80_000_000
"""What the engine is told of the store: half of it may be taken; the input is 2.5 times as large."""


def used() -> tuple[int, int]:
    """Bytes in the object store, and bytes that were spilled from it."""
    (node,) = (node for node in ray.nodes() if node["Alive"])
    stats = node_stats(node["NodeManagerAddress"], node["NodeManagerPort"]).store_stats
    return stats.object_store_bytes_used, stats.spilled_bytes_total


def write(folder: Path, files: int, units: int) -> None:
    """Files of many units each, so that a task that is under way could go on for long."""
    folder.mkdir()
    rows = UNIT // 2_000
    for number in range(files):
        with (folder / f"{number}.jsonl").open("w", encoding="utf-8") as stream:
            for i in range(units * rows):
                more = f"{i * 7919 % 1000003:07d}" * 280
                stream.write(json.dumps({"id": i, "body": "the water", "more": more}) + "\n")


def outcomes_of(job: dict[str, Any], folder: Path) -> Generator[Outcome, None, None]:
    """Runs a job over a folder by an engine with one worker a model."""
    job["input"] |= {"path": str(folder), "keep": ["id", "more"], "rows_per_unit": UNIT // 2_000}
    resolved = resolve(JobConfig.from_dict(job))
    models = size_pools(resolved.models, cpus=1, gpus=0, units=100)
    engine = RayEngine(PipelineSpec(resolved.spec.input, models, resolved.spec.output))
    return engine.run([Pending(split, frozenset()) for split in resolved.splits])


@pytest.mark.slow
def test_a_reader_stays_within_its_share_of_the_store(
    job: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 200 MB, a quarter of the store waits and as much is on its way; nothing is spilled."""
    write(tmp_path / "large", files=2, units=100)
    monkeypatch.setattr(source, "_store", lambda: float(STORE))
    monkeypatch.setattr(ray_engine, "start_encoder", starter({"": 0.5}))
    (before, spilled), most, committed = used(), 0, 0
    with closing(outcomes_of(job, tmp_path / "large")) as outcomes:
        for outcome in outcomes:
            committed += isinstance(outcome, Receipt)
            now, spilled_now = used()
            most = max(most, now - before)
            assert spilled_now == spilled
            if committed == 12:
                break
    print(f"{most / 1e6:.0f} MB at most")
    assert UNIT < most < 0.75 * STORE


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "units_a_share", [0.5, *(pytest.param(each, marks=pytest.mark.exhaustive) for each in (2, 5))]
)
def test_a_share_of_few_units_holds_nothing_up_for_ever(
    job: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, units_a_share: float
) -> None:
    """Of less than one even: every unit of several files is done."""
    write(tmp_path / "small", files=3, units=4)
    monkeypatch.setattr(source, "_store", lambda: units_a_share * UNIT / source.STORE_SHARE)
    monkeypatch.setattr(ray_engine, "start_encoder", starter({"": 0.1}))
    deadline, committed = time.monotonic() + LONGEST, 0
    with closing(outcomes_of(job, tmp_path / "small")) as outcomes:
        for outcome in outcomes:
            committed += isinstance(outcome, Receipt)
            assert time.monotonic() < deadline, f"only {committed} of 12 units"
    assert committed == 12
