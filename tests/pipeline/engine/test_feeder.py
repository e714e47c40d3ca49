"""The feeder: never further ahead than allowed, and it hands on what goes wrong."""

import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest

from corpusmill.pipeline.engine.feeder import Feeder


def drain(feeder: Feeder, count: int) -> list[Any]:
    """Take that many units."""
    found: list[Any] = []
    while len(found) < count and not feeder.finished:
        found += feeder.arrived(timeout=1.0)
    return found


def test_holds_the_source_back_at_the_unit_limit() -> None:
    """With three units open the fourth is not pulled until one is released."""
    pulled: list[int] = []

    def source() -> Iterator[tuple[int, int]]:
        for i in itertools.count():
            pulled.append(i)
            yield i, 10

    feeder = Feeder(source, max_units=3, max_bytes=10_000)
    feeder.start()
    assert [reference for reference, _ in drain(feeder, 3)] == [0, 1, 2]
    time.sleep(0.1)
    assert pulled == [0, 1, 2, 3]  # the fourth waits in the feeder's hand
    assert feeder.arrived(timeout=0.05) == []
    feeder.release(10)
    assert drain(feeder, 1) == [(3, 10)]
    feeder.stop()


def test_holds_the_source_back_at_the_byte_limit_but_lets_one_large_unit_through() -> None:
    """A unit larger than the limit passes alone; two do not pass together."""
    feeder = Feeder(lambda: iter([("a", 100), ("b", 100), ("c", 1)]), max_units=10, max_bytes=50)
    feeder.start()
    assert drain(feeder, 1) == [("a", 100)]
    assert feeder.arrived(timeout=0.05) == []
    feeder.release(100)
    assert drain(feeder, 1) == [("b", 100)]
    feeder.release(100)
    assert drain(feeder, 1) == [("c", 1)]
    feeder.release(1)
    assert feeder.arrived(timeout=1.0) == []
    assert feeder.finished


def test_raises_what_the_source_raised() -> None:
    """An error of the source is raised where units are asked for, not lost on the thread."""

    def source() -> Iterator[tuple[str, int]]:
        yield from ()
        raise OSError("the source broke")

    feeder = Feeder(source, max_units=10, max_bytes=10)
    feeder.start()
    with pytest.raises(OSError, match="the source broke"):
        feeder.arrived(timeout=5.0)


def test_stop_ends_a_feeder_that_waits_for_room() -> None:
    """A blocked thread ends at once; nothing hangs when a job is given up."""
    feeder = Feeder(lambda: iter([("a", 1), ("b", 1)]), max_units=1, max_bytes=10)
    feeder.start()
    drain(feeder, 1)
    feeder.stop()
    assert not feeder._thread.is_alive()
