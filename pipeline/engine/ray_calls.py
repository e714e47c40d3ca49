"""The calls to tasks and actors that the driver waits for, and their answers."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from corpusmill.pipeline.engine.work import OpenUnit, WorkItem
from corpusmill.pipeline.engine.worker_set import Worker

MANY = 64
GATHER = 0.05
"""Seconds for which answers are gathered while more than MANY calls are awaited.

`ray.wait` takes time per awaited call. Meanwhile each worker computes its next work item.
"""


@dataclass(frozen=True, slots=True)
class SummarizeCall:
    """A call that summarizes blocks, given as (reference, bytes); it answers one `UnitSummary` per block."""

    blocks: tuple[tuple[Any, int], ...]


@dataclass(frozen=True, slots=True)
class StartCall:
    """A call that starts a worker of the `model`-th pool; it answers `Ready`."""

    model: int
    worker: Worker


@dataclass(frozen=True, slots=True)
class EncodeCall:
    """A call that encodes a work item of the `model`-th pool.

    It answers `EncodeStats`; `columns` is the reference of the result's columns.
    """

    model: int
    worker: Worker
    item: WorkItem
    columns: Any


@dataclass(frozen=True, slots=True)
class CommitCall:
    """A call that commits a unit; it answers `Committed`."""

    unit: OpenUnit


Call = SummarizeCall | StartCall | EncodeCall | CommitCall


@dataclass(frozen=True, slots=True)
class AnsweredCall:
    """A call that has returned a value."""

    call: Call
    value: Any


@dataclass(frozen=True, slots=True)
class FailedCall:
    """A call that has failed.

    A `RayTaskError` is an exception of the called code. A `RayActorError` or an `OutOfMemoryError` is the
    death of its process. Any other error is the loss of an object that the call needed.
    """

    call: Call
    error: RayError


Answer = AnsweredCall | FailedCall


class RayCalls:
    """The calls under way, by the reference of their answer."""

    def __init__(self) -> None:
        self._calls: dict[Any, Call] = {}
        self._under_way: Counter[type[Call]] = Counter()

    def expect(self, reference: Any, call: Call) -> None:
        """Add a call to those whose answers are awaited."""
        self._calls[reference] = call
        self._under_way[type(call)] += 1

    def forget(self, reference: Any) -> None:
        """Drop a call whose answer is of no use any more; it may have answered already."""
        self._take(reference)

    def under_way(self, kind: type[Call]) -> int:
        """Return how many calls of a kind have not answered."""
        return self._under_way[kind]

    def answers(self, timeout: float) -> Iterator[Answer]:
        """Wait for an answer, then yield all that have arrived, except those forgotten meanwhile."""
        for reference, value in answers(list(self._calls), timeout):
            call = self._take(reference)
            if call is not None:
                yield FailedCall(call, value) if isinstance(value, RayError) else AnsweredCall(call, value)

    def wait_for(self, kind: type[Call], seconds: float) -> None:
        """Wait until all calls of a kind have answered, so many seconds at most."""
        references = [reference for reference, call in self._calls.items() if isinstance(call, kind)]
        if references:
            ray.wait(references, num_returns=len(references), timeout=seconds)

    def _take(self, reference: Any) -> Call | None:
        call = self._calls.pop(reference, None)
        if call is not None:
            self._under_way[type(call)] -= 1
        return call


def answers(awaited: Sequence[Any], timeout: float) -> list[tuple[Any, Any]]:
    """Return (reference, value or error) of every answer that has arrived, values first.

    So a worker's last answer comes before its death, and the death counts against the right work item.
    """
    if not awaited:
        return []
    gather = GATHER if len(awaited) > MANY else 0.0
    ready, rest = ray.wait(list(awaited), num_returns=1, timeout=timeout)
    more, _ = ray.wait(rest, num_returns=len(rest), timeout=gather) if ready and rest else ([], [])
    arrived = [*ready, *more]
    found = list(zip(arrived, _answers_to(arrived), strict=True))
    return sorted(found, key=lambda each: isinstance(each[1], RayError))


def _answers_to(references: list[Any]) -> list[Any]:
    try:
        return list(ray.get(references))  # five times faster than one by one
    except RayError:
        return [answer_to(reference) for reference in references]


def answer_to(reference: Any) -> Any:
    """Return the value of a reference, or its error."""
    try:
        return ray.get(reference)
    except RayTaskError as error:  # a lost block is no fault of the task that needed it
        return error.cause if isinstance(error.cause, RayError) else error
    except RayError as error:
        return error
