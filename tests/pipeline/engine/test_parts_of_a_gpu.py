"""Parts of a GPU with the real scheduler: workers share one, and none waits for a place that is not there."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support.slow import starter

from corpusmill.jobs import JobConfig, run
from corpusmill.pipeline.autoscaling.meters import StartMeter
from corpusmill.pipeline.engine import ray_engine
from corpusmill.pipeline.engine.messages import EngineState
from corpusmill.pipeline.errors import JobFailed

pytestmark = pytest.mark.usefixtures("ray_cluster", "a_gpu")
SAME = {"device": "cuda", "dtype": "float32", "tokens_per_batch": 2048}
"""Of a model whose workers compute on the CPU, as they do in the undisturbed run."""


@pytest.fixture
def a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the driver find a GPU, as Ray is told of one; nothing computes on it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


def events(job: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """The events of one kind."""
    path = Path(job["output"]["path"]) / "_job" / "events.jsonl"
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [event for event in found if event["event"] == kind]


@pytest.mark.slow
def test_workers_of_two_models_share_one_gpu(
    job: dict[str, Any],
    undisturbed: dict[str, bytes],
    states: list[EngineState],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A quarter and a half at once; what a worker notes is shown once, and kept."""
    job["models"][0] |= SAME | {"pool": {"gpus": 0.25, "max_workers": 1}}
    job["models"][1] |= SAME | {"pool": {"gpus": 0.5, "max_workers": 1}}
    note = "found 12.0 GB free of the 40.0 GB that it should have"
    monkeypatch.setattr(ray_engine, "start_encoder", starter({"e_": 0.3, "c_": 0.3}, {"c_": note}))
    run(JobConfig.from_dict(job), show_progress=True)
    written = {path.name: path.read_bytes() for path in (Path(job["output"]["path"]) / "data").iterdir()}
    assert written == undisturbed
    assert [1, 1] in [[pool.workers for pool in state.pools] for state in states]
    assert [event["note"] for event in events(job, "worker_note")] == [note]
    assert capsys.readouterr().err.count(f"note: c: a worker {note}") == 1


@pytest.mark.slow
def test_workers_that_do_not_fit_on_the_gpu_are_refused_before_the_start(job: dict[str, Any]) -> None:
    """Three halves of one GPU, and two of 0.6 although nothing else is on it."""
    job["models"] = job["models"][1:]
    job["models"][0] |= SAME | {"pool": {"gpus": 0.5, "min_workers": 3}}
    with pytest.raises(JobFailed, match=r"need at least 1\.5 GPUs \(c: 3 x 0\.5\), the cluster has 1;"):
        run(JobConfig.from_dict(job))
    job["output"]["path"] += "-2"
    job["models"][0] |= SAME | {"pool": {"gpus": 0.6, "min_workers": 2}}
    with pytest.raises(JobFailed, match=r"c: 2 x 0\.6"):
        run(JobConfig.from_dict(job))


@pytest.mark.slow
def test_no_more_workers_start_than_fit_on_the_gpu(
    job: dict[str, Any], states: list[EngineState], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four are allowed: two are started, which is noted before, and none waits for ever."""
    job["models"] = job["models"][1:]
    job["models"][0] |= SAME | {"pool": {"gpus": 0.5, "min_workers": 0, "max_workers": 4}}
    job["autoscaling"] = {"target_drain_seconds": 1}
    monkeypatch.setattr(StartMeter, "seconds", property(lambda _: 1.0))
    monkeypatch.setattr(ray_engine, "start_encoder", starter({"c_": 1.0}))
    run(JobConfig.from_dict(job))
    assert max(pool.workers + pool.starting for state in states for pool in state.pools) == 2
    assert any("may grow to 4 workers with 0.5 GPUs" in event["note"] for event in events(job, "crowded"))
    assert any("fit beside the other pools" in event["reason"] for event in events(job, "scaling"))
