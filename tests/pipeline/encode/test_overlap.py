"""Work ahead: in order, bounded, and no thread where one thing is done at a time."""

import threading
from collections.abc import Iterator

import pytest

from corpusmill.pipeline.encode.overlap import InOrderExecutor


def test_results_come_in_order() -> None:
    """Also where later ones are done first."""
    gates = [threading.Event() for _ in range(6)]

    def act(number: int) -> int:
        if number % 2 == 0:
            gates[number].wait(10)
        else:
            gates[number - 1].set()
        return number

    assert list(InOrderExecutor(2, lambda: None).map(act, range(6))) == list(range(6))


def test_no_more_are_under_way_than_allowed() -> None:
    """The next item is not even taken from the iterator."""
    asked: list[int] = []

    def given() -> Iterator[int]:
        for number in range(5):
            asked.append(number)
            yield number

    made = InOrderExecutor(2, lambda: None).map(lambda number: number, given())
    for number in range(5):
        assert next(made) == number
        assert len(asked) <= number + 2


@pytest.mark.parametrize(("at_once", "threads"), [(1, 0), (3, 3)])
def test_threads_stay_and_each_begins_once(at_once: int, threads: int) -> None:
    """One after another over several units; with one at once, all is done by the caller."""
    began: list[int] = []
    barrier = threading.Barrier(max(threads, 1))

    def act(_: int) -> int:
        barrier.wait(10)
        return threading.get_ident()

    ahead = InOrderExecutor(at_once, lambda: began.append(threading.get_ident()))
    used = {ident for _ in range(2) for ident in ahead.map(act, range(3))}
    assert len(began) == threads
    assert used == (set(began) if threads else {threading.get_ident()})


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_failure_is_raised_in_its_turn(at_once: int) -> None:
    """After the results before it; the next unit is served all the same."""

    def act(number: int) -> int:
        if number == 2:
            raise MemoryError("too much")
        return number

    ahead = InOrderExecutor(at_once, lambda: None)
    made = ahead.map(act, range(9))
    assert [next(made), next(made)] == [0, 1]
    with pytest.raises(MemoryError):
        next(made)
    assert list(ahead.map(act, [5, 6])) == [5, 6]


def test_all_batches_of_a_unit_start_before_those_of_the_next() -> None:
    """Of two calling threads the second waits, and its first batch follows the other's last one at once."""
    begun: list[str] = []
    ahead = InOrderExecutor(2, lambda: None)
    started, last = threading.Event(), threading.Event()

    def act(name: str) -> str:
        begun.append(name)
        if name == "a2":
            assert last.wait(10)
        last.set() if name == "b0" else started.set()
        return name

    made: dict[str, list[str]] = {}

    def unit(name: str) -> None:
        made[name] = list(ahead.map(act, (f"{name}{i}" for i in range(3))))

    threads = [threading.Thread(target=unit, args=(name,)) for name in ("a", "b")]
    threads[0].start()
    assert started.wait(10)
    threads[1].start()
    for thread in threads:
        thread.join(20)
    assert begun == ["a0", "a1", "a2", "b0", "b1", "b2"]
    assert made == {"a": ["a0", "a1", "a2"], "b": ["b0", "b1", "b2"]}
