"""A pool's workers, found without a search: the free, those to let go, those to keep."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from corpusmill.pipeline.blocks import UnitSummary
from corpusmill.pipeline.engine.work import OpenUnit, UnitResult, WorkItem
from corpusmill.pipeline.engine.worker_set import PREFETCHED, Worker, WorkerSet
from corpusmill.pipeline.input.units import Unit


def work_item(tokens: int, *, alone: bool = False) -> WorkItem:
    """A whole unit of two rows, with so many tokens."""
    result = UnitResult()
    summary = UnitSummary(Unit("u", "/in", 0, 0), 2, 0, {}, None)
    return WorkItem(OpenUnit(object(), 1, summary, [result]), result, 0, 2, tokens, alone=alone)


class WorkerSets(RuleBasedStateMachine):
    """Any order of starts, work items, dismissals and deaths leaves the counts and the free workers right."""

    AT_ONCE = 1

    def __init__(self) -> None:
        super().__init__()
        self.workers = WorkerSet(self.AT_ONCE)
        self.room = self.AT_ONCE + PREFETCHED
        self.clock = 0

    def some(self, *, starting: bool | None = None) -> list[Worker]:
        return [w for w in self.workers if starting is None or w.starting == starting]

    @rule()
    def requested_at(self) -> None:
        self.clock += 1
        self.workers.add(Worker(object(), object(), self.clock))

    @precondition(lambda self: self.some(starting=True))
    @rule(data=st.data())
    def loaded(self, data: Any) -> None:
        self.workers.loaded(data.draw(st.sampled_from(self.some(starting=True))), 7)

    @rule(tokens=st.integers(0, 9))
    def assigned(self, tokens: int) -> None:
        worker = self.workers.free()
        if worker is not None:
            fewest = min(len(w.items) for w in self.some(starting=False) if not (w.leaving or w.alone))
            assert len(worker.items) == fewest < self.room
            self.workers.assign(worker, work_item(tokens), object(), 0.0)

    @rule()
    def assigned_alone(self) -> None:
        worker = self.workers.free(alone=True)
        assert (worker is None) == (self.workers.idle == 0)
        if worker is not None:
            assert worker.current is None
            self.workers.assign(worker, work_item(3, alone=True), object(), 0.0)

    @precondition(lambda self: any(w.items for w in self.workers))
    @rule(data=st.data())
    def answered(self, data: Any) -> None:
        worker = data.draw(st.sampled_from([w for w in self.workers if w.items]))
        self.workers.release(worker, worker.current, 1.0)
        if worker.leaving and not worker.items:
            self.workers.remove(worker)

    @rule(count=st.integers(1, 3))
    def dismissed(self, count: int) -> None:
        before = self.workers.staying
        ended = self.workers.dismiss(count)
        assert before - self.workers.staying == min(count, before)
        for worker in ended:
            self.workers.remove(worker)

    @rule(count=st.integers(1, 3))
    def recalled(self, count: int) -> None:
        leaving = self.workers.leaving
        assert self.workers.recall(count) == min(count, leaving)

    @precondition(lambda self: len(self.workers))
    @rule(data=st.data())
    def died(self, data: Any) -> None:
        self.workers.remove(data.draw(st.sampled_from(list(self.workers))))

    @invariant()
    def counts_are_right(self) -> None:
        workers = list(self.workers)
        staying = [w for w in workers if not w.leaving]
        assert len(self.workers) == len(workers)
        assert self.workers.leaving == len(workers) - len(staying)
        assert self.workers.starting == sum(w.starting for w in staying)
        assert self.workers.ready == sum(not w.starting for w in staying)
        assert self.workers.idle == sum(not w.starting and not w.items for w in staying)
        free = [w for w in staying if not (w.starting or w.alone) and len(w.items) < self.room]
        assert (self.workers.free() is None) == (not free)

    @invariant()
    def what_is_in_flight_is_counted(self) -> None:
        items = [item for worker in self.workers for item in worker.items]
        assert self.workers.in_flight_items == len(items)
        assert self.workers.in_flight_tokens == sum(item.tokens for item in items)


class WorkerSetsAtTwo(WorkerSets):
    """The same where each worker computes two work items at once."""

    AT_ONCE = 2


WorkerSets.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
WorkerSetsAtTwo.TestCase.settings = WorkerSets.TestCase.settings
TestWorkerSet = WorkerSets.TestCase
TestWorkerSetAtTwo = WorkerSetsAtTwo.TestCase


def test_starting_workers_leave_first_and_the_busiest_last() -> None:
    """A worker that computes leaves only if no other worker is left."""
    workers = WorkerSet()
    four = [Worker(object(), object(), float(i)) for i in range(4)]
    for worker in four:
        workers.add(worker)
    for worker in four[:3]:
        workers.loaded(worker, 1)
    workers.assign(four[0], work_item(1), object(), 0.0)
    assert workers.dismiss(1) == [four[3]]
    workers.remove(four[3])
    assert set(workers.dismiss(2)) == {four[1], four[2]}
    assert workers.dismiss(1) == []
    assert workers.recall(1) == 1
    assert not four[0].leaving
