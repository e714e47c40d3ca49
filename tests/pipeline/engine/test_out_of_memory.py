"""Ray's watch of a node's memory, at work: it kills the worker, and the row that took it all is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from corpusmill.jobs.verify.verify import verify

ROOM = 0.25
"""Share of the machine's memory that workers may take beyond what is taken already."""
RUN = """
import json, logging, sys
import ray
from support.poison import starter
from corpusmill.jobs import JobConfig, run
from corpusmill.pipeline.engine import ray_engine

memory = dict(line.split()[:2] for line in open("/proc/meminfo"))
taken = 1 - int(memory["MemAvailable:"]) / int(memory["MemTotal:"])
watch = {"memory_usage_threshold": min(0.95, taken + float(sys.argv[2])), "memory_monitor_refresh_ms": 50}
quiet = {"include_dashboard": False, "logging_level": logging.ERROR, "log_to_driver": False}
ray.init(num_cpus=2, _system_config=watch, **quiet)
ray_engine.start_encoder = starter("e")
run(JobConfig.from_dict(json.loads(sys.argv[1])))
"""


@pytest.mark.exhaustive
def test_a_row_that_takes_all_memory_is_refused_alone(job: dict[str, Any], tmp_path: Path) -> None:
    """After two deaths of its own; every other row is kept."""
    rows = [
        {"id": i, "body": f"the water of page {i} {'music' if i == 5 else 'and'} more"} for i in range(30)
    ]
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    job["input"] |= {"path": str(path), "rows_per_unit": 15}
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(job), str(ROOM)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    out = Path(job["output"]["path"])
    found = verify(str(out))
    assert (found.ok, found.rows, found.rejected) == (True, 29, 1)
    (rejects,) = (out / "rejects").iterdir()
    (reject,) = [json.loads(line) for line in rejects.read_text(encoding="utf-8").splitlines()]
    assert (reject["row"], reject["reason"]) == (
        5,
        "ended its worker 2 times, the last time as its node had no memory left, encoded alone",
    )
