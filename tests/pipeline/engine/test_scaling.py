"""Real pools follow their queues: they grow, shrink, start at zero, and say why; results stay the same."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from support.slow import starter
from tokenizers import Tokenizer

from corpusmill.jobs import JobConfig, run
from corpusmill.pipeline.autoscaling.meters import StartMeter
from corpusmill.pipeline.engine import ray_engine
from corpusmill.pipeline.engine.messages import EngineState, PoolState
from corpusmill.pipeline.engine.ray_engine import RayEngine

pytestmark = pytest.mark.usefixtures("ray_cluster")


def quick_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the measured start time to that of an idle machine."""
    monkeypatch.setattr(StartMeter, "seconds", property(lambda _: 1.0))


def scaling(job: dict[str, Any], model: str) -> list[dict[str, Any]]:
    """The scaling events of one model."""
    path = Path(job["output"]["path"]) / "_job" / "events.jsonl"
    events = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [event for event in events if event["event"] == "scaling" and event["model"] == model]


def of(states: list[EngineState], model: str) -> list[PoolState]:
    """The states of one model's pool."""
    return [pool for state in states for pool in state.pools if pool.model == model]


def true_tokens(corpus: Path, tokenizer: Path) -> int:
    """The tokens of all distinct texts of each unit of 40 lines, counted without the product's code."""
    found = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    total = 0
    for path in sorted(corpus.iterdir()):
        lines = path.read_text(encoding="utf-8").splitlines()
        for start in range(0, len(lines), 40):
            texts = set()
            for line in lines[start : start + 40]:
                if "broken" not in line and json.loads(line)["body"] is not None:
                    texts.add(json.loads(line)["body"])
            total += sum(len(found.encode(text, add_special_tokens=False).ids) for text in texts)
    return total


@pytest.mark.exhaustive
def test_two_pools_follow_their_own_queues(
    job: dict[str, Any],
    undisturbed: dict[str, bytes],
    states: list[EngineState],
    checkpoints: dict[str, Path],
    corpus: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A slow model grows from nothing to what there is room for, and back; another goes its own way.

    A worker is killed while the pool grows, which changes nothing in the output. What is queued, in flight
    and done adds up to the true tokens of what was read.
    """
    job["models"][0]["pool"] = {"min_workers": 1, "max_workers": 3, "cpus": 1}
    job["models"][1]["pool"] = {"min_workers": 0, "max_workers": 3, "cpus": 1}
    job["autoscaling"] = {"target_drain_seconds": 3}
    quick_starts(monkeypatch)
    # Both have work for longer than a start takes: they compete for the room.
    monkeypatch.setattr(ray_engine, "start_encoder", starter({"c_": 1.5, "e_": 0.6}))
    killed: list[int] = []
    seen = RayEngine.state

    def state(engine: RayEngine) -> EngineState:
        found = seen(engine)
        slow = found.pools[1]
        if not killed and slow.workers and slow.starting:
            killed.append(slow.pids[0])
            os.kill(slow.pids[0], signal.SIGKILL)
        return found

    monkeypatch.setattr(RayEngine, "state", state)
    run(JobConfig.from_dict(job))

    assert {p.name: p.read_bytes() for p in (Path(job["output"]["path"]) / "data").iterdir()} == undisturbed
    assert len(killed) == 1
    slow, fast = of(states, "c"), of(states, "e")
    assert {pool.target for pool in fast} <= {0, 1, 2, 3}
    # At the end, when nothing can come for it any more, it gives way below its minimum.
    assert scaling(job, "e")[-1]["after"] == 0
    # There is room for three, of which the other model keeps its one as long as it has work.
    assert all(pool.target <= 2 for pool, other in zip(slow, fast, strict=True) if other.target)
    assert all(0 <= pool.workers + pool.starting <= 3 for pool in slow)
    assert slow[0].starting + slow[0].workers == 0
    events = scaling(job, "c")
    assert events[0]["before"] == 0
    assert events[-1]["after"] == 0
    assert all(event["reason"] for event in events)
    assert any("fit beside the other pools" in event["reason"] for event in events)

    truth = true_tokens(corpus, checkpoints["embedder"])
    complete = [pool for state in states if state.rows_read == 600 for pool in state.pools]
    assert complete
    for pool in complete:
        held = pool.queued_tokens + pool.in_flight_tokens + pool.done_tokens
        assert held == pytest.approx(truth, rel=0.02)


@pytest.mark.slow
def test_a_pool_grows_to_its_most_while_200_units_wait(
    job: dict[str, Any], states: list[EngineState], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From one worker to four in steps with reasons, and to none when no unit is left."""
    job["models"] = job["models"][1:]
    job["models"][0]["pool"] = {"min_workers": 1, "max_workers": 4, "cpus": 1}
    job["input"]["rows_per_unit"] = 3
    job["autoscaling"] = {"target_drain_seconds": 2}
    quick_starts(monkeypatch)
    monkeypatch.setattr(ray_engine, "start_encoder", starter({"c_": 0.3}))
    result = run(JobConfig.from_dict(job))
    assert result.units == 201
    assert result.workers_peak == 4
    events = scaling(job, "c")
    assert (events[0]["before"], max(event["after"] for event in events), events[-1]["after"]) == (1, 4, 0)
    growing = [event for event in events if event["after"] > event["before"]]
    assert all("tokens wait" in event["reason"] and event["queued_tokens"] > 0 for event in growing)
    assert max(pool.workers for pool in of(states, "c")) == 4
    (stage,) = [stage for stage in result.stages if stage.stage == "encode"]
    assert stage.units == 201
    assert stage.busy_seconds >= 201 * 0.3
    assert result.worker_seconds >= stage.busy_seconds + stage.waiting_seconds


@pytest.mark.slow
def test_a_job_of_its_own_machine_uses_the_cores_that_are_there(
    job: dict[str, Any],
    undisturbed: dict[str, bytes],
    states: list[EngineState],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a drain time the model with most work gets the second core; the other ends before it."""
    quick_starts(monkeypatch)
    monkeypatch.setattr(ray_engine, "start_encoder", starter({"c_": 0.7}))
    run(JobConfig.from_dict(job))
    assert {p.name: p.read_bytes() for p in (Path(job["output"]["path"]) / "data").iterdir()} == undisturbed
    slow, fast = scaling(job, "c"), scaling(job, "e")
    assert (slow[0]["before"], slow[0]["after"]) == (1, 2)
    assert "s of one worker's work are left" in slow[0]["reason"]
    assert (fast[-1]["after"], fast[-1]["reason"]) == (0, "nothing more will come")
    assert any(pool.workers + pool.starting == 0 for pool in of(states, "e"))
    assert max(pool.workers for pool in of(states, "c")) == 2
