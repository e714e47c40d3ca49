"""A node that dies with everything on it, and another that comes: several raylets on this machine."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.cluster_utils import Cluster

from corpusmill.jobs import JobConfig, run

COMMAND = str(Path(sys.executable).with_name("corpusmill"))
FILES, ROWS, UNIT = 24, 80, 40
LONGEST = 240.0
WORDS = ("the", "water", "moves", "under", "a", "bridge", "and", "people", "walk", "home")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A head that runs the driver and no task, and a node of four CPUs."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=4)
        yield cluster
    finally:
        cluster.shutdown()


@pytest.fixture
def large(checkpoints: dict[str, Path], tmp_path: Path) -> dict[str, Any]:
    """A job whose blocks and results are too large to be kept by the driver itself: they live on nodes."""
    (tmp_path / "in").mkdir()
    for part in range(FILES):
        rows = [
            {"id": part * ROWS + i, "body": " ".join(WORDS[(i + j) % 10] for j in range(600 + i))}
            for i in range(ROWS)
        ]
        rows[7]["body"] = 3
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "in" / f"{part:02}.jsonl").write_text(lines, encoding="utf-8")
    return {
        "name": "large",
        "input": {
            "path": str(tmp_path / "in"),
            "text": "body",
            "keep": ["id", "body"],
            "rows_per_unit": UNIT,
        },
        "models": [
            {
                "checkpoint": str(checkpoints["embedder"]),
                "name": "t",
                "task": "token-embedding",
                "max_length": 32,
                "pool": {"max_workers": 2, "cpus": 1},
            },
            {"checkpoint": str(checkpoints["classifier"]), "name": "c", "max_length": 32},
        ],
        "output": {"path": str(tmp_path / "out")},
    }


def committed(job: dict[str, Any]) -> dict[str, bytes]:
    folder = Path(job["output"]["path"]) / "data"
    return {path.name: path.read_bytes() for path in folder.glob("*.arrow")}


def wait_for(job: dict[str, Any], units: int, process: subprocess.Popen[str]) -> None:
    """Until so many units are committed."""
    deadline = time.monotonic() + LONGEST
    while len(committed(job)) < units and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)


@pytest.mark.slow
def test_a_node_is_lost_and_another_comes(cluster: Cluster, large: dict[str, Any], tmp_path: Path) -> None:
    """What ran there runs again and what was stored there is made again, on the new one: the same bytes.

    Ray's notes of all that are no part of what is printed.
    """
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(large), encoding="utf-8")
    (first,) = cluster.worker_nodes
    pipe = subprocess.PIPE
    command = [COMMAND, "run", str(path), "--address", cluster.address, "--json"]
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            wait_for(large, 4, process)
            cluster.remove_node(first, allow_graceful=False)
            before = len(committed(large))
            cluster.add_node(num_cpus=4)
            out, err = process.communicate(timeout=LONGEST)
        finally:
            process.kill()
    units = FILES * ROWS // UNIT
    assert process.returncode == 0, err
    assert 4 <= before < units
    result = json.loads(out)
    assert (result["rows"], result["rejected"], result["units"]) == (FILES * (ROWS - 1), FILES, units)
    found = committed(large)
    large["output"]["path"] = str(tmp_path / "undisturbed")
    run(JobConfig.from_dict(large), executor="inline")
    assert found == committed(large)
