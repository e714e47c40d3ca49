"""Pulls unit references out of Ray Data in the background, no further ahead than the pools can use."""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any


class Feeder:
    """Iterates a source of (reference, bytes) on a thread; holds at most `max_units` and `max_bytes` open.

    A unit is open from when it is pulled until `release`. One unit is always allowed, however large.
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

        Raises what the source raised. `finished` is true once the source has ended and all was returned.
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
        """Make room: a unit of this many bytes is done."""
        with self._room:
            self._units -= 1
            self._bytes -= size
            self._room.notify_all()

    def blocked_seconds(self) -> float:
        """Return the seconds for which the source was held back so far, because there was no room."""
        with self._room:
            return self._blocked + (time.monotonic() - self._blocked_since if self._blocked_since else 0.0)

    @property
    def blocked(self) -> bool:
        """Whether the source is held back now."""
        return self._blocked_since > 0

    def stop(self) -> None:
        """Stop pulling, and wait a moment for the thread; a thread that waits for the source ends with it."""
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
        except BaseException as error:  # handed to the thread that asks
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
    """How much of a job's input has come and is still to come: only the rows are known beforehand."""

    def __init__(self, rows: int) -> None:
        self._rows_expected = rows
        self.rows = 0
        self._tokens: dict[str, int] = {}
        self.finished = False

    def note(self, rows: int, tokens: Mapping[str, int]) -> None:
        """Note a unit that came."""
        self.rows += rows
        for key, count in tokens.items():
            self._tokens[key] = self._tokens.get(key, 0) + count

    def expected_tokens(self, key: str) -> float | None:
        """Return the tokens of all rows, projected from those that came; None before the first."""
        if not self.rows:
            return None
        rows = self.rows if self.finished else max(self.rows, self._rows_expected)
        return self._tokens.get(key, 0) * rows / self.rows

    def arrived_tokens(self, key: str) -> int:
        """Return the tokens of the units that came."""
        return self._tokens.get(key, 0)

    def backlog_tokens(self, key: str) -> float:
        """Return the tokens that are still to come."""
        return (self.expected_tokens(key) or 0.0) - self._tokens.get(key, 0)
