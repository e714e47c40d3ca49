"""The calls under way: each answer comes once, with what it is for, values before failures."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
import ray
from ray.exceptions import ObjectStoreFullError, RayTaskError

from corpusmill.pipeline.engine import ray_calls
from corpusmill.pipeline.engine.ray_calls import AnsweredCall, FailedCall, RayCalls, StartCall, SummarizeCall
from corpusmill.pipeline.engine.worker_set import Worker

pytestmark = pytest.mark.usefixtures("ray_cluster", "gathering")


@pytest.fixture
def gathering(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make each call of `answers` wait for all of them, as Ray may return only some at once."""
    monkeypatch.setattr(ray_calls, "MANY", 0)
    monkeypatch.setattr(ray_calls, "GATHER", 60.0)


@ray.remote(num_cpus=0)  # type: ignore[untyped-decorator]
def broken() -> None:
    """Fail."""
    raise ValueError("no such block")


@ray.remote(num_cpus=0)  # type: ignore[untyped-decorator]
def without_its_block() -> None:
    """Fail like a task that cannot get an object that it needs."""
    raise ObjectStoreFullError("no room for the block")


@ray.remote(num_cpus=0)  # type: ignore[untyped-decorator]
def slow() -> None:
    """Answer later than at once."""
    time.sleep(1.0)


def failed_reference(task: Any = broken) -> Any:
    """The reference of a task that has failed."""
    reference = task.remote()
    ray.wait([reference])
    return reference


def worker() -> Worker:
    """A worker whose start nobody waits for."""
    return Worker(object(), object(), 0.0)


def test_each_answer_comes_once_values_first() -> None:
    """Even if the failed call was added first."""
    calls = RayCalls()
    dead, alive = StartCall(0, worker()), StartCall(1, worker())
    calls.expect(failed_reference(), dead)
    calls.expect(ray.put("ready"), alive)
    value, failure = calls.answers(10.0)
    assert value == AnsweredCall(alive, "ready")
    assert isinstance(failure, FailedCall)
    assert failure.call == dead
    assert isinstance(failure.error, RayTaskError)
    assert list(calls.answers(0.0)) == []


def test_a_lost_object_is_no_fault_of_the_task_that_asked_for_it() -> None:
    """The failure is Ray's own error, not an exception of the called code."""
    calls = RayCalls()
    calls.expect(failed_reference(without_its_block), StartCall(0, worker()))
    (failure,) = calls.answers(10.0)
    assert isinstance(failure, FailedCall)
    assert isinstance(failure.error, ObjectStoreFullError)
    assert not isinstance(failure.error, RayTaskError)


def test_calls_of_a_kind_are_waited_for() -> None:
    """At the end of a run: after the wait they have answered."""
    calls = RayCalls()
    reference = slow.remote()
    calls.expect(reference, SummarizeCall(()))
    calls.wait_for(SummarizeCall, 60.0)
    assert ray.wait([reference], timeout=0)[0] == [reference]


def test_an_answer_that_is_forgotten_does_not_come() -> None:
    """Neither before the wait nor between two answers of one wait, as if one death ends two calls."""
    calls = RayCalls()
    references = [ray.put(i) for i in range(3)]
    for i, reference in enumerate(references):
        calls.expect(reference, StartCall(i, worker()))
    calls.forget(references[0])
    coming: Iterator[Any] = calls.answers(10.0)
    first = next(coming).value
    assert first in (1, 2)
    calls.forget(references[3 - first])
    assert list(coming) == []


def test_calls_are_counted_by_kind() -> None:
    """From when they are expected until they are answered or forgotten."""
    calls = RayCalls()
    first, second = ray.put([]), ray.put([])
    calls.expect(first, SummarizeCall(()))
    calls.expect(second, SummarizeCall(()))
    calls.expect(ray.put(None), StartCall(0, worker()))
    assert (calls.under_way(SummarizeCall), calls.under_way(StartCall)) == (2, 1)
    calls.forget(first)
    calls.forget(first)
    assert calls.under_way(SummarizeCall) == 1
    assert len(list(calls.answers(10.0))) == 2
    assert (calls.under_way(SummarizeCall), calls.under_way(StartCall)) == (0, 0)
