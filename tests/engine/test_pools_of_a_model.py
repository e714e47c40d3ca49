"""Several pools of one model at one queue, with the real scheduler: exactly once, and the same bytes."""

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from support import poison
from support.slow import starter

from corpusmill.jobs import JobConfig, run
from corpusmill.jobs.report.timeline import read_timeline
from corpusmill.jobs.verify import verify
from corpusmill.pipeline.engine import dispatch, ray_engine
from corpusmill.pipeline.engine.outcomes import EngineState, PoolState
from corpusmill.pipeline.engine.pool import Pool
from corpusmill.pipeline.engine.ray_engine import RayEngine
from corpusmill.pipeline.errors import JobFailed
from corpusmill.pipeline.output import OutputFolder

pytestmark = pytest.mark.usefixtures("ray_cluster")
SAME = {"dtype": "float32", "tokens_per_batch": 2048}
"""Of every pool, so that it does not matter which of them encodes a unit."""


def pools(*wanted: dict[str, Any]) -> dict[str, Any]:
    """Fields of a model with such pools."""
    return {**SAME, "pools": [{"cpus": 1, **pool} for pool in wanted]}


def events(job: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """The events of one kind."""
    path = Path(job["output"]["path"]) / "_job" / "events.jsonl"
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [event for event in found if event["event"] == kind]


def written(job: dict[str, Any]) -> dict[str, bytes]:
    """The data files."""
    return {path.name: path.read_bytes() for path in (Path(job["output"]["path"]) / "data").iterdir()}


def units(result: Any, model: str) -> dict[str | None, int]:
    """The units that each pool of a model was the last to do."""
    return {stage.pool: stage.units for stage in result.stages if stage.model == model}


def of(states: list[EngineState], name: str) -> list[PoolState]:
    """The states of one pool."""
    return [pool for state in states for pool in state.pools if pool.name == name]


def test_two_pools_serve_one_queue(
    job: dict[str, Any],
    undisturbed: dict[str, bytes],
    states: list[EngineState],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Both do units, each unit once; figures are told of each pool, the queue's of the model."""
    monkeypatch.setattr("corpusmill.jobs.events.INTERVAL", 0.5)
    job["models"][1] |= pools(
        {"device": "cuda", "gpus": 0.5, "max_workers": 1}, {"device": "cpu", "max_workers": 1}
    )
    notes = {"c_cuda": "found 12.0 GB free of the 40.0 GB that it should have"}
    monkeypatch.setattr(ray_engine, "start_encoder", starter({"c_": 0.4}, notes))
    result = run(JobConfig.from_dict(job), show_progress=True)

    assert written(job) == undisturbed
    assert verify(job["output"]["path"]).ok
    done = units(result, "c")
    assert done.keys() == {"cuda", "cpu"}
    assert all(done.values())
    assert sum(done.values()) == len(undisturbed)
    assert units(result, "e") == {None: len(undisturbed)}
    assert result.workers_peak == 3
    for state in states:
        one, two = (pool for pool in state.pools if pool.model == "c")
        assert (one.queued_tokens, one.queued_units, one.left_tokens) == (
            two.queued_tokens,
            two.queued_units,
            two.left_tokens,
        )
        assert one.done_tokens >= 0 <= two.done_tokens
    last = of(states, "c on cuda")[-1], of(states, "c on cpu")[-1]
    assert sum(pool.done_tokens for pool in last) == of(states, "e")[-1].done_tokens
    assert [event["note"] for event in events(job, "worker_note")] == [notes["c_cuda"]]
    assert capsys.readouterr().err.count(f"note: c on cuda: a worker {notes['c_cuda']}") == 1
    folder = OutputFolder.of(job["output"]["path"], "arrow")
    timeline = read_timeline(folder)
    assert {series.name for series in timeline.queues} == {"e", "c"}
    assert {series.name for series in timeline.workers} == {"e", "c on cuda", "c on cpu"}
    assert {"encode c on cuda", "encode c on cpu"} <= {name for name, _ in timeline.stages}
    assert sum(timeline.lengths["c"]) > max(sum(stage.lengths or ()) for stage in result.stages if stage.pool)


def test_a_unit_of_a_killed_worker_goes_to_the_other_pool(
    job: dict[str, Any],
    undisturbed: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SIGKILL of the only worker of one pool in the middle of a unit: the other's has it next."""
    job["models"][1] |= pools(
        {"device": "cuda", "gpus": 1, "max_workers": 1}, {"device": "cpu", "max_workers": 1}
    )
    monkeypatch.setattr(ray_engine, "start_encoder", starter({"c_": 0.5}))
    by: dict[str, str] = {}
    answered = Pool.answered

    def noted(pool: Pool, reference: Any, *rest: Any) -> Iterator[Any]:
        if reference != pool.holdings.worker(reference).starting and pool.spec.title == "c":
            by[pool.piece(reference).ticket.summary.unit.name] = pool.spec.label
        yield from answered(pool, reference, *rest)

    monkeypatch.setattr(Pool, "answered", noted)
    killed: list[int] = []
    original = RayEngine.state

    def state(engine: RayEngine) -> EngineState:
        found = original(engine)
        fast, slow = (pool for pool in found.pools if pool.model == "c")
        if not killed and fast.done_tokens and fast.in_flight_tokens and slow.done_tokens:
            killed.append(fast.pids[0])
            os.kill(fast.pids[0], signal.SIGKILL)
        return found

    monkeypatch.setattr(RayEngine, "state", state)
    run(JobConfig.from_dict(job))
    assert written(job) == undisturbed
    (lost,) = events(job, "worker_lost")
    assert (lost["model"], lost["pool"], lost["pid"]) == ("c", "cuda", killed[0])
    assert by[lost["unit"]] == "cpu"


def test_the_fast_pool_alone_drains_what_it_can_in_time(
    job: dict[str, Any], undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool a hundred times slower is allowed two workers, and none is ever started."""
    job["models"][1] |= pools(
        {"device": "cpu", "min_workers": 0, "max_workers": 2},
        {"device": "cuda", "gpus": 0.5, "max_workers": 1},
    )
    monkeypatch.setattr(ray_engine, "start_encoder", starter({"c_cpu": 5.0}))
    result = run(JobConfig.from_dict(job))
    assert written(job) == undisturbed
    assert units(result, "c") == {"cpu": 0, "cuda": len(undisturbed)}
    assert [event["pool"] for event in events(job, "scaling") if event["model"] == "c"] == []
    assert result.workers_peak == 2


def test_fractions_of_one_gpu_are_held_at_once(
    job: dict[str, Any],
    undisturbed: dict[str, bytes],
    states: list[EngineState],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A quarter, a half and a quarter, of two models, on the only GPU; and no CPU worker is needed."""
    nobody = {"device": "cpu", "min_workers": 0, "max_workers": 1}
    quarter = {"device": "cuda", "gpus": 0.25, "max_workers": 1}
    job["models"][0] |= pools(quarter, {**quarter, "gpus": 0.5}, nobody)
    job["models"][1] |= pools(quarter, nobody)
    monkeypatch.setattr(ray_engine, "start_encoder", starter({"e_": 0.3, "c_": 0.3}))
    run(JobConfig.from_dict(job))
    assert written(job) == undisturbed
    names = ("e on cuda 1", "e on cuda 2", "c on cuda")
    together = [[pool.workers for pool in state.pools if pool.name in names] for state in states]
    assert [1, 1, 1] in together


def test_workers_that_have_no_place_on_the_gpu_are_said_before_the_start(job: dict[str, Any]) -> None:
    """Three halves of one GPU, and two of 0.6 although nothing else is on it."""
    other = {"device": "cpu", "min_workers": 0}
    job["models"][1] |= pools({"device": "cuda", "gpus": 0.5, "min_workers": 3}, other)
    with pytest.raises(
        JobFailed, match=r"need 1\.5 GPUs at least \(c on cuda: 3 x 0\.5\), the cluster has 1;"
    ):
        run(JobConfig.from_dict(job))
    job["output"]["path"] += "-2"
    job["models"][1] |= pools({"device": "cuda", "gpus": 0.6, "min_workers": 2}, other)
    with pytest.raises(JobFailed, match=r"c on cuda: 2 x 0\.6"):
        run(JobConfig.from_dict(job))


def test_no_more_halves_are_asked_for_than_the_gpu_holds(
    job: dict[str, Any], states: list[EngineState], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four are allowed: two are started, which is noted before, and none waits for ever."""
    job["models"] = job["models"][1:]
    job["models"][0] |= pools(
        {"device": "cuda", "gpus": 0.5, "min_workers": 0, "max_workers": 4},
        {"device": "cpu", "min_workers": 0, "max_workers": 1},
    )
    job["autoscaling"] = {"target_drain_seconds": 1}
    monkeypatch.setattr(ray_engine, "start_encoder", starter({"c_": 1.0}))
    run(JobConfig.from_dict(job))
    assert max(pool.workers + pool.starting for pool in of(states, "c on cuda")) == 2
    assert any("up to 4 workers of 0.5 GPUs" in event["note"] for event in events(job, "crowded"))
    grown = [event for event in events(job, "scaling") if event["pool"] == "cuda"]
    assert any("fit beside the other pools" in event["reason"] for event in grown)


def test_a_gpu_that_somebody_else_holds_is_not_waited_for(
    job: dict[str, Any], undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker starts for ever; after a while the CPU workers are called, and do everything."""

    class Holder:  # in here, as workers have no path to the tests
        def there(self) -> None:
            """Answer once it has the GPU."""

    holder = ray.remote(num_gpus=1, num_cpus=0)(Holder).remote()
    ray.get(holder.there.remote())
    job["models"][1] |= pools(
        {"device": "cuda", "gpus": 0.5, "max_workers": 1},
        {"device": "cpu", "min_workers": 0, "max_workers": 1},
    )
    monkeypatch.setattr(dispatch, "LEAST_LATE", 2.0)
    monkeypatch.setattr(dispatch, "LATE", 0.0)
    monkeypatch.setattr(ray_engine, "start_encoder", starter({}))
    try:
        result = run(JobConfig.from_dict(job))
    finally:
        ray.kill(holder)
    assert written(job) == undisturbed
    assert units(result, "c") == {"cuda": 0, "cpu": len(undisturbed)}
    (first, *_) = [event for event in events(job, "scaling") if event["model"] == "c"]
    assert (first["pool"], first["before"], first["after"]) == ("cpu", 0, 1)


@pytest.mark.slow
def test_a_row_that_ends_workers_of_any_pool_is_refused_alone(
    job: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its unit is cut up for whoever is free: one reject, every other row is kept."""
    path = tmp_path / "poisoned.jsonl"
    rows = [{"id": i, "body": f"the {'horse' if i == 17 else 'water'} of page {i}"} for i in range(90)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    job["input"] |= {"path": str(path), "rows_per_unit": 45}
    job["models"] = job["models"][1:]
    job["models"][0] |= pools(*[{"device": "cpu", "max_workers": 1}] * 2)
    monkeypatch.setattr(ray_engine, "start_encoder", poison.starter())
    result = run(JobConfig.from_dict(job))
    assert (result.rows, result.rejected) == (89, 1)
    assert verify(job["output"]["path"]).ok
    lost = Counter(event["pool"] for event in events(job, "worker_lost"))
    assert lost.keys() <= {"cpu 1", "cpu 2"}
    assert sum(lost.values()) <= 7
