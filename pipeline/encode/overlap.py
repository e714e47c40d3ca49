"""Overlap of batches: a GPU computes one batch while the host prepares the next."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")


class InOrderExecutor:
    """A pool of `at_once` threads whose results come in order; each thread calls `begin` first.

    With `at_once` 1 there are no threads, and each item is computed when its result is requested. Several
    callers may use `map` at once: a caller's items start after all items of the earlier caller have started.
    """

    def __init__(self, at_once: int, begin: Callable[[], None]) -> None:
        self._at_once = at_once
        self._beginning = threading.Lock()
        self._threads = None if at_once == 1 else ThreadPoolExecutor(at_once, initializer=begin)

    def map(self, act: Callable[[Given], Made], given: Iterable[Given]) -> Iterator[Made]:
        """Yield `act` of each given item, in order; an exception is raised in place of its result."""
        if self._threads is None:
            with self._beginning:
                yield from map(act, given)
            return
        waiting: deque[Future[Made]] = deque()
        try:
            with self._beginning:
                for each in given:
                    waiting.append(self._threads.submit(act, each))
                    if len(waiting) == self._at_once:
                        yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
