"""A pool: the notes of its workers reach the driver once, and its own size limits how many may die."""

from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.exceptions import RayActorError

from corpusmill.pipeline.blocks import UnitSummary
from corpusmill.pipeline.engine.faults import MAX_DEATHS, HangTimeout
from corpusmill.pipeline.engine.messages import Outcome, WorkerNote
from corpusmill.pipeline.engine.pool import Pool, PoolLinks
from corpusmill.pipeline.engine.ray_calls import RayCalls
from corpusmill.pipeline.engine.work import OpenUnit, UnitResult, WorkItem
from corpusmill.pipeline.engine.workers import Ready
from corpusmill.pipeline.errors import JobFailed
from corpusmill.pipeline.input.units import Unit
from corpusmill.pipeline.spec import ModelSpec, PoolSpec, TokenizerSpec

TOKENIZER = TokenizerSpec("folder", "digest", "folder")
SPEC = ModelSpec(
    "vec",
    "",
    "folder",
    "folder",
    "digest",
    "embedding",
    "float32",
    "cuda",
    512,
    None,
    64,
    TOKENIZER,
    PoolSpec(2, 1),
)


def actor(_: ModelSpec) -> Any:
    """A stand-in for an actor: each start has a separate reference."""
    return SimpleNamespace(ready=SimpleNamespace(remote=object))


def test_notes_are_reported() -> None:
    """Each note, with the process of its worker; a worker without notes reports nothing."""
    reported: list[Outcome] = []
    pool = Pool(0, SPEC, PoolLinks(actor, RayCalls(), reported.append, HangTimeout()), 0.0)
    pool.resize(2)
    first, second = pool.workers
    pool.started(first, Ready(7, 0.0, ("finds less", "takes less")), 1.0)
    assert reported == [WorkerNote("vec", 7, "finds less"), WorkerNote("vec", 7, "takes less")]
    pool.started(second, Ready(8), 1.0)
    assert len(reported) == 2


def test_only_a_whole_unit_bounds_the_rate() -> None:
    """The few rows of a part take mostly overhead, as in the search for a row that ends its worker."""
    pool = Pool(0, SPEC, PoolLinks(actor, RayCalls(), lambda _: None, HangTimeout()), 0.0)
    (worker,) = pool.workers
    pool.started(worker, Ready(7), 1.0)
    result = UnitResult()
    summary = UnitSummary(Unit("u", "/in", 0, 0), 16, 0, {}, None)
    item = WorkItem(OpenUnit(object(), 1, summary, [result]), result, 0, 16, 160)
    pool.workers.assign(worker, item, object(), 2.0)
    assert pool.fastest_possible(12.0) == 16.0
    pool.workers.release(worker, item, 12.0)
    pool.workers.assign(worker, item.cut(16)[0], object(), 12.0)
    assert pool.fastest_possible(22.0) is None


def test_the_limit_of_failed_starts_follows_the_workers_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not those that the pool may have: with one worker of two the third failed start ends the job."""
    monkeypatch.setattr(ray, "kill", lambda _: None)
    pool = Pool(0, SPEC, PoolLinks(actor, RayCalls(), lambda _: None, HangTimeout()), 0.0)
    for _ in range(2):
        (worker,) = pool.workers
        pool.died(worker, RayActorError())
    (worker,) = pool.workers
    with pytest.raises(JobFailed, match="3 workers in a row died while loading"):
        pool.died(worker, RayActorError())


def test_the_limit_of_deaths_at_work_follows_the_workers_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one worker of two, MAX_DEATHS end the job, each at a unit of its own."""
    monkeypatch.setattr(ray, "kill", lambda _: None)
    pool = Pool(0, SPEC, PoolLinks(actor, RayCalls(), lambda _: None, HangTimeout()), 0.0)

    def die() -> None:
        (worker,) = pool.workers
        pool.started(worker, Ready(7), 1.0)
        result = UnitResult()
        unit = OpenUnit(object(), 1, UnitSummary(Unit("u", "/in", 0, 0), 16, 0, {}, None), [result])
        pool.workers.assign(worker, WorkItem(unit, result, 0, 16, 160), object(), 2.0)
        pool.died(worker, RayActorError())

    for _ in range(MAX_DEATHS - 1):
        die()
    with pytest.raises(JobFailed, match=f"{MAX_DEATHS} workers in a row died and none finished anything"):
        die()
