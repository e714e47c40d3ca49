"""Nodes follow workers: a job asks for more than one node offers, nodes come, and go when it is done."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from support.elastic import elastic_cluster

SCRIPT = """
import json, sys, time
import ray
from support.slow import starter
from corpusmill.jobs import JobConfig, run
from corpusmill.pipeline.autoscaling.meters import StartMeter
from corpusmill.pipeline.engine import ray_engine

def alive():
    return sum(node["Alive"] for node in ray.nodes())

seen = []
original = ray_engine.RayEngine.state

def state(engine):
    found = original(engine)
    seen.append((alive(), found.pools[0].workers))
    return found

ray_engine.RayEngine.state = state
StartMeter.seconds = property(lambda _: 1.0)  # as on a machine with nothing else to do
ray_engine.start_encoder = starter({"c_": 2.0})
result = run(JobConfig.from_yaml(sys.argv[1]), address=sys.argv[2])
ray.init(address=sys.argv[2], logging_level="ERROR")
deadline = time.monotonic() + 180
while alive() > 1 and time.monotonic() < deadline:
    time.sleep(1)
print(json.dumps({"rows": result.rows, "nodes": max(n for n, _ in seen), "workers": max(w for _, w in seen),
                  "at_first": seen[0][0], "in_the_end": alive()}))
"""


@pytest.mark.exhaustive
def test_nodes_are_added_for_workers_and_removed_after_them(job: dict[str, Any], tmp_path: Path) -> None:
    """A head of two CPUs, one for reading; four workers of one CPU each bring at least two nodes more."""
    job["models"] = job["models"][1:]
    job["models"][0]["pool"] = {"min_workers": 1, "max_workers": 4, "cpus": 1}
    job["autoscaling"] = {"target_drain_seconds": 10}
    job["input"]["rows_per_unit"] = 5
    config = tmp_path / "job.yaml"
    config.write_text(json.dumps(job))
    tests = str(Path(__file__).parents[2])
    with (
        tempfile.TemporaryDirectory(prefix="el") as short,
        elastic_cluster(Path(short), head_cpus=2, nodes=4) as address,
    ):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(config), address],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": tests, "RAY_TMPDIR": short, "RAY_AUTH_MODE": "disabled"},
            cwd=short,
            timeout=500,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    # Ray's autoscaler says on the same stream what it adds and removes.
    (line,) = (line for line in done.stdout.splitlines() if line.startswith('{"rows"'))
    found = json.loads(line)
    assert (found["rows"], found["at_first"], found["in_the_end"]) == (597, 1, 1)
    assert found["nodes"] >= 3
    assert found["workers"] >= 3
    events = (Path(job["output"]["path"]) / "_job" / "events.jsonl").read_text(encoding="utf-8").splitlines()
    assert any('"crowded"' in event and "further workers wait for nodes" in event for event in events)
