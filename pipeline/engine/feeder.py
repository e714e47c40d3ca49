"""The supply of unit references from Ray Data in the background, no further ahead than the pools can use."""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any


class Feeder:
    """A thread that pulls units, as (reference, bytes), from a source while there is room for open ones.

    A unit is open from the pull until `release`. At most `max_units` of at most `max_bytes` are open; one
    unit is always allowed, however large.
    """

    def __init__(
        self, source: Callable[[], Iterator[tuple[Any, int]]], *, max_units: int, max_bytes: int
    ) -> None:
        self._source = source
        self._max_units, self._max_bytes = max_units, max_bytes
        self._units = self._bytes = 0
        self._room = threading.Condition()
        self._blocked, self._blocked_since = 0.0, 0.0
        self._stopped = False
        self._arrived: queue.SimpleQueue[tuple[Any, int] | BaseException | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._pull, name="corpusmill-feeder", daemon=True)
        self.finished = False

    def start(self) -> None:
        """Begin pulling."""
        self._thread.start()

    def arrived(self, timeout: float) -> list[tuple[Any, int]]:
        """Return the units pulled since the last call, waiting up to `timeout` seconds for the first.

        An exception of the source is raised here. `finished` is true once the source has ended and all its
        units were returned.
        """
        found: list[tuple[Any, int]] = []
        while not self.finished:
            try:
                item = self._arrived.get(timeout=0.0 if found else timeout)
            except queue.Empty:
                break
            if isinstance(item, BaseException):
                raise item
            if item is None:
                self.finished = True
            else:
                found.append(item)
        return found

    def release(self, size: int) -> None:
        """Make room: a unit of so many bytes is done."""
        with self._room:
            self._units -= 1
            self._bytes -= size
            self._room.notify_all()

    def blocked_seconds(self) -> float:
        """Return the seconds so far in which the source was held back, because there was no room."""
        with self._room:
            return self._blocked + (time.monotonic() - self._blocked_since if self._blocked_since else 0.0)

    @property
    def blocked(self) -> bool:
        """Whether the source is held back now."""
        return self._blocked_since > 0

    def stop(self) -> None:
        """Stop pulling, and wait up to a second for the thread; if it waits for the source, it ends later."""
        with self._room:
            self._stopped = True
            self._room.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=1)

    def _pull(self) -> None:
        try:
            for reference, size in self._source():
                if not self._take(size):
                    return
                self._arrived.put((reference, size))
            self._arrived.put(None)
        except BaseException as error:  # raised again in the caller's thread
            self._arrived.put(error)

    def _take(self, size: int) -> bool:
        with self._room:
            if not self._fits(size):
                self._blocked_since = time.monotonic()
                self._room.wait_for(lambda: self._fits(size))
                self._blocked += time.monotonic() - self._blocked_since
                self._blocked_since = 0.0
            self._units += 1
            self._bytes += size
            return not self._stopped

    def _fits(self, size: int) -> bool:
        few = self._units < self._max_units and self._bytes + size <= self._max_bytes
        return self._stopped or self._units == 0 or few


class Intake:
    """The rows and tokens of a job's input that have arrived; those to come are projected from the rows."""

    def __init__(self, rows: int) -> None:
        self._rows_expected = rows
        self.rows = 0
        self._tokens: dict[str, int] = {}
        self.finished = False

    def note(self, rows: int, tokens: Mapping[str, int]) -> None:
        """Note a unit that arrived."""
        self.rows += rows
        for key, count in tokens.items():
            self._tokens[key] = self._tokens.get(key, 0) + count

    def expected_tokens(self, key: str) -> float | None:
        """Return the tokens of all rows, projected from those that arrived; None before the first."""
        if not self.rows:
            return None
        rows = self.rows if self.finished else max(self.rows, self._rows_expected)
        return self._tokens.get(key, 0) * rows / self.rows

    def arrived_tokens(self, key: str) -> int:
        """Return the tokens of the units that arrived."""
        return self._tokens.get(key, 0)

    def backlog_tokens(self, key: str) -> float:
        """Return the tokens that are still to come."""
        return (self.expected_tokens(key) or 0.0) - self._tokens.get(key, 0)
