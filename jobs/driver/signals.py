"""SIGTERM and Ctrl-C: the command ends in an orderly way, and its process ends within GRACE seconds.

The first signal raises an exception in the main thread. Such an exception can come at a bad moment. Python
drops it in a destructor or a callback. Between the acquisition of a lock and its `try`, it leaves the lock
acquired for ever. So loops call `raise_pending`, and a thread that needs no lock watches the process.

The watch begins with the first signal and lasts until the process has ended. It ends the process after GRACE,
or when a second signal comes. A process that a signal ends skips the shutdown of the interpreter, which stops
threads (the watch too) and runs destructors that take seconds. Committed units are always complete.
"""

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import NoReturn

GRACE = 8.0
"""Seconds that an orderly end may take."""
DUPLICATE_WITHIN = 1.0
"""A second signal within so many seconds is a duplicate: `timeout` and wrapping programs send two at once."""
CLOSED = 0
"""Written into the pipe of the watch to end it; the interpreter writes numbers of signals there."""


class Terminated(BaseException):
    """The arrival of SIGTERM. Like KeyboardInterrupt it is no Exception: only the command line catches it."""


STOP_SIGNALS: dict[int, type[BaseException]] = {signal.SIGTERM: Terminated, signal.SIGINT: KeyboardInterrupt}
_PENDING: list[int] = []
"""The number of the signal that ends this process, if one has arrived."""


@contextmanager
def terminable(farewell: Callable[[int], str], last: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Raise the exception of STOP_SIGNALS in the main thread when a signal arrives.

    In another thread nothing is set up. A block that any error leaves after a signal does not return:
    `farewell` of the signal is printed, `last` is called, and the process ends with 128 + the signal's
    number. The same happens if the block is not left within GRACE. `last` must be quick; two threads may
    call it at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # An ignored signal stays ignored: shells set this for background commands, and `nohup` does.
    handled = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    previous = {number: signal.getsignal(number) for number in handled}
    ending = _Ending(farewell, last)
    watch = _Watch(ending)
    try:
        for number in handled:
            signal.signal(number, _stop)
        yield
    except BaseException:
        # Compiled code turns the exception into a SystemError, and child processes that got the signal fail.
        if _PENDING:
            ending.end(_PENDING[0])
        raise
    finally:
        if not _PENDING:
            for number, handler in previous.items():
                signal.signal(number, handler)
            watch.close()


def raise_pending() -> None:
    """Raise the exception of a signal again; loops call this, as the first exception may have been lost."""
    if _PENDING:
        raise STOP_SIGNALS[_PENDING[0]]


def stopping() -> bool:
    """Return whether a signal has arrived, so that this process ends soon."""
    return bool(_PENDING)


def _stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  signal's own signature
    if not _PENDING:  # a second signal must not disturb the orderly end; the watch reads it
        _PENDING.append(number)
        raise STOP_SIGNALS[number]


@dataclass(frozen=True, slots=True)
class _Ending:
    """The end of the process, by the main thread or by the watch."""

    farewell: Callable[[int], str]
    last: Callable[[], None]
    printed: threading.Lock = field(default_factory=threading.Lock)

    def end(self, number: int) -> NoReturn:
        """Print the farewell once, without waiting for a reader, and end the process."""
        try:
            with suppress(Exception):
                if self.printed.acquire(blocking=False):
                    _print(self.farewell(number))
            self.last()
        finally:
            os._exit(128 + number)


def _print(line: str) -> None:
    """Write a line to standard error, after the buffered output of the standard streams."""
    if threading.current_thread() is threading.main_thread():
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # closed, or its reader is gone
                stream.flush()
    # A full pipe without a reader, or a terminal that Ctrl-S has stopped, would block the watch.
    elif not select.select([], [2], [], 0)[1]:
        return
    os.write(2, f"{line}\n".encode())


class _Watch:
    """A thread that reads the numbers of arriving signals and ends the process in time."""

    def __init__(self, ending: _Ending) -> None:
        self._ending = ending
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        self._previous = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._watch, name="corpusmill-signals", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the watch if no signal has come."""
        signal.set_wakeup_fd(self._previous)
        os.write(self._writing, bytes([CLOSED]))
        self._thread.join()
        os.close(self._writing)
        os.close(self._reading)

    def _watch(self) -> None:
        number = self._next()
        while number != CLOSED and number not in STOP_SIGNALS:
            number = self._next()
        if number != CLOSED:
            self._wait_for_end(number)
            self._ending.end(number)

    def _wait_for_end(self, number: int) -> None:
        """Return after GRACE, or when another signal comes."""
        arrived = time.monotonic()
        ready = select.poll()  # like `select`, but for a descriptor of any number
        ready.register(self._reading, select.POLLIN)
        while (left := arrived + GRACE - time.monotonic()) > 0:
            again = number if not ready.poll(1000 * left) else self._next()
            if again in STOP_SIGNALS and time.monotonic() - arrived >= DUPLICATE_WITHIN:
                return

    def _next(self) -> int:
        return os.read(self._reading, 1)[0]
