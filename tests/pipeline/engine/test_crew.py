"""A pool's workers, found without a search: the free, those to let go, those to keep."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from corpusmill.pipeline.engine.worker_set import FETCHED, Crew, Worker


class Crews(RuleBasedStateMachine):
    """Any order of starts, pieces, dismissals and deaths leaves the counts and the free workers right."""

    AT_ONCE = 1

    def __init__(self) -> None:
        super().__init__()
        self.crew = Crew(self.AT_ONCE)
        self.room = self.AT_ONCE + FETCHED
        self.clock = 0

    def some(self, *, starting: bool | None = None) -> list[Worker]:
        return [w for w in self.crew if starting is None or (w.starting is not None) == starting]

    @rule()
    def asked(self) -> None:
        self.clock += 1
        self.crew.add(Worker(object(), object(), self.clock))

    @precondition(lambda self: self.some(starting=True))
    @rule(data=st.data())
    def loaded(self, data: Any) -> None:
        self.crew.loaded(data.draw(st.sampled_from(self.some(starting=True))), 7)

    @rule()
    def handed(self) -> None:
        worker = self.crew.free()
        if worker is not None:
            fewest = min(len(w.held) for w in self.some(starting=False) if not (w.leaving or w.alone))
            assert len(worker.held) == fewest < self.room
            worker.held[object()] = (None, None)  # type: ignore[assignment]
            self.crew.changed(worker)

    @rule()
    def handed_alone(self) -> None:
        worker = self.crew.free(alone=True)
        assert (worker is None) == (self.crew.idle == 0)
        if worker is not None:
            assert not worker.held
            worker.held[object()] = (None, None)  # type: ignore[assignment]
            worker.alone = True
            self.crew.changed(worker)

    @precondition(lambda self: any(w.held for w in self.crew))
    @rule(data=st.data())
    def done(self, data: Any) -> None:
        worker = data.draw(st.sampled_from([w for w in self.crew if w.held]))
        worker.held.pop(next(iter(worker.held)))
        worker.alone = False
        self.crew.changed(worker)
        if worker.leaving and not worker.held:
            self.crew.remove(worker)

    @rule(count=st.integers(1, 3))
    def dismissed(self, count: int) -> None:
        before = self.crew.staying
        ended = self.crew.dismiss(count)
        assert before - self.crew.staying == min(count, before)
        for worker in ended:
            self.crew.remove(worker)

    @rule(count=st.integers(1, 3))
    def recalled(self, count: int) -> None:
        leaving = self.crew.leaving
        assert self.crew.recall(count) == min(count, leaving)

    @precondition(lambda self: len(self.crew))
    @rule(data=st.data())
    def died(self, data: Any) -> None:
        self.crew.remove(data.draw(st.sampled_from(list(self.crew))))

    @invariant()
    def counts_are_right(self) -> None:
        workers = list(self.crew)
        staying = [w for w in workers if not w.leaving]
        assert len(self.crew) == len(workers)
        assert self.crew.leaving == len(workers) - len(staying)
        assert self.crew.starting == sum(w.starting is not None for w in staying)
        assert self.crew.ready == sum(w.starting is None for w in staying)
        assert self.crew.idle == sum(w.starting is None and not w.held for w in staying)
        free = [w for w in staying if w.starting is None and not w.alone and len(w.held) < self.room]
        assert (self.crew.free() is None) == (not free)


class CrewsAtTwo(Crews):
    """The same where each worker is at two pieces at once."""

    AT_ONCE = 2


Crews.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
CrewsAtTwo.TestCase.settings = Crews.TestCase.settings
TestCrew = Crews.TestCase
TestCrewAtTwo = CrewsAtTwo.TestCase


def test_those_that_start_go_first_and_the_busiest_last() -> None:
    """A worker that computes is let go only where nobody else is left to go."""
    crew = Crew()
    workers = [Worker(object(), object(), float(i)) for i in range(4)]
    for worker in workers:
        crew.add(worker)
    for worker in workers[:3]:
        crew.loaded(worker, 1)
    workers[0].held[object()] = (None, None)  # type: ignore[assignment]
    crew.changed(workers[0])
    assert crew.dismiss(1) == [workers[3]]
    crew.remove(workers[3])
    assert set(crew.dismiss(2)) == {workers[1], workers[2]}
    assert crew.dismiss(1) == []
    assert crew.recall(1) == 1
    assert not workers[0].leaving
