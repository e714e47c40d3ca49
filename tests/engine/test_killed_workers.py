"""SIGKILL of one process in the middle of what it does: the same bytes, and what it had begun is nowhere."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.held import HELD, held, killing

from corpusmill.jobs import JobConfig, run
from corpusmill.jobs.verify import verify

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.mark.parametrize("stage", HELD)
def test_a_process_killed_at_work_costs_nothing(
    job: dict[str, Any],
    undisturbed: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
) -> None:
    """A read task between two units, a tokenizer or encoder in a batch, a committer before the data file."""
    monkeypatch.setattr(*held(stage, tmp_path / "pid"))
    with killing(tmp_path / "pid"):
        result = run(JobConfig.from_dict(job))
    assert (result.rows, result.rejected, result.units) == (597, 3, len(undisturbed))
    out = Path(job["output"]["path"])
    assert {path.name: path.read_bytes() for path in (out / "data").iterdir()} == undisturbed
    assert verify(str(out)).ok
    events = [json.loads(line) for line in (out / "_job" / "events.jsonl").read_text().splitlines()]
    lost = [event["reason"] for event in events if event["event"] == "worker_lost"]
    assert lost == (["died"] if stage == "encoding" else [])
