"""Work done a little ahead of who asks for it: a GPU computes one batch while the host prepares the next."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")


class InOrderExecutor:
    """Threads that stay, for up to `at_once` things under way; `begin` is called first in each.

    With one at once there are none, and nothing is done ahead. Who asks while another's things are still to
    be begun waits until all of them are: then the first of his follow the last of the other's.
    """

    def __init__(self, at_once: int, begin: Callable[[], None]) -> None:
        self._at_once = at_once
        self._beginning = threading.Lock()
        self._threads = None if at_once == 1 else ThreadPoolExecutor(at_once, initializer=begin)

    def map(self, act: Callable[[Given], Made], given: Iterable[Given]) -> Iterator[Made]:
        """Yield what `act` makes of each, in order. A failure is raised where its result was due."""
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
