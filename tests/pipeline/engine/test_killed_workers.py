"""SIGKILL of one process in the middle of what it does: the same bytes, and what it had begun is nowhere."""

import json
from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, OutOfMemoryError
from support.held import held, killing

from corpusmill.jobs import JobConfig, run
from corpusmill.jobs.verify.verify import verify
from corpusmill.pipeline.engine import ray_calls

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.mark.parametrize(
    "stage",
    [
        pytest.param("reading", marks=pytest.mark.slow),
        pytest.param("encoding", marks=pytest.mark.slow),
        pytest.param("tokenizing", marks=pytest.mark.slow),
        pytest.param("committing", marks=pytest.mark.slow),
    ],
)
def test_a_process_killed_at_work_costs_nothing(
    job: dict[str, Any],
    undisturbed: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
) -> None:
    """A read task between two units, a tokenizer or encoder in a batch, a committer before the data file."""
    lost = disturbed(job, undisturbed, tmp_path, monkeypatch, stage)
    assert lost == (["died"] if stage == "encoding" else [])


@pytest.mark.slow
def test_a_worker_that_ray_kills_for_its_memory_is_replaced(
    job: dict[str, Any], undisturbed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray's watch of a node's memory sends SIGKILL too, and then says so by another exception."""
    whole = ray_calls.answer_to

    def answer(reference: Any) -> Any:
        found = whole(reference)
        return OutOfMemoryError("as said by Ray") if isinstance(found, ActorDiedError) else found

    monkeypatch.setattr(ray_calls, "answer_to", answer)
    lost = disturbed(job, undisturbed, tmp_path, monkeypatch, "encoding")
    assert lost == ["was killed as its node had no memory left"]


def disturbed(
    job: dict[str, Any],
    undisturbed: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
) -> list[str]:
    """Kill a process of a stage; all is there nevertheless. Returns why encoders were replaced."""
    monkeypatch.setattr(*held(stage, tmp_path / "pid"))
    with killing(tmp_path / "pid"):
        result = run(JobConfig.from_dict(job))
    assert (result.rows, result.rejected, result.units) == (597, 3, len(undisturbed))
    out = Path(job["output"]["path"])
    assert {path.name: path.read_bytes() for path in (out / "data").iterdir()} == undisturbed
    assert verify(str(out)).ok
    events = [json.loads(line) for line in (out / "_job" / "events.jsonl").read_text().splitlines()]
    return [event["reason"] for event in events if event["event"] == "worker_lost"]
