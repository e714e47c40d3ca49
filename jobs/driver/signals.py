"""SIGTERM and Ctrl-C: a command that is told to end is unwound, and its process ends within GRACE seconds.

The first signal is an exception in the main thread. Such an exception can come at a bad moment: in a
destructor or a callback Python drops it, and between the taking of a lock and its `try` it leaves the lock
taken for ever. So loops ask again with `raise_pending`, and a thread that needs no lock watches the process.

The watch begins with the first signal and lasts until the process is gone. It ends the process after GRACE,
or when a second signal comes. A process that a signal ends leaves out the end of the interpreter, in which
threads stop, also the watch, and destructors of libraries take seconds. What is committed is always whole.
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
SAME = 1.0
"""Seconds in which a second signal counts as the first: `timeout` and wrapping programs send two at once."""
OVER = 0
"""Written to the watching thread's pipe where the interpreter writes numbers of signals."""


class Terminated(BaseException):
    """SIGTERM arrived. As KeyboardInterrupt, not an Exception: nothing but the command line catches it."""


STOPS: dict[int, type[BaseException]] = {signal.SIGTERM: Terminated, signal.SIGINT: KeyboardInterrupt}
_PENDING: list[int] = []
"""The number of the signal that ends this process: as signals are the process's, so is this."""


@contextmanager
def terminable(farewell: Callable[[int], str], last: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Raise in the main thread what STOPS says when a signal arrives; elsewhere signals cannot be set.

    A block that any error leaves after that does not return: `farewell` of the signal is printed, `last` is
    called, and the process ends with 128 + the signal's number. The same happens where the block is not left
    within GRACE. `last` must be quick; it may be called by two threads at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # One that was ignored stays so: of shells, in what they run in the background, and of `nohup`.
    stops = [number for number in STOPS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.getsignal(number) for number in stops}
    ending = _Ending(farewell, last)
    watch = _Watch(ending)
    try:
        for number in stops:
            signal.signal(number, _stop)
        yield
    except BaseException:
        # Compiled code makes a SystemError of the signal, and processes that it reached too fail.
        if _PENDING:
            ending.end(_PENDING[0])
        raise
    finally:
        if not _PENDING:
            for number, handler in before.items():
                signal.signal(number, handler)
            watch.close()


def raise_pending() -> None:
    """Raise again what a signal has raised, for a loop to call: the first time it may have got lost."""
    if _PENDING:
        raise STOPS[_PENDING[0]]


def stopping() -> bool:
    """Return whether a signal has arrived, so that this process ends soon whatever is left undone."""
    return bool(_PENDING)


def _stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  signal's own signature
    if not _PENDING:  # a second signal must not disturb the orderly end; the watch hears it too
        _PENDING.append(number)
        raise STOPS[number]


@dataclass(frozen=True, slots=True)
class _Ending:
    """How the process ends, whoever ends it: the main thread or the watch."""

    farewell: Callable[[int], str]
    last: Callable[[], None]
    printed: threading.Lock = field(default_factory=threading.Lock)

    def end(self, number: int) -> NoReturn:
        """End the process by a signal: print the farewell once, without waiting for a reader of it."""
        try:
            with suppress(Exception):
                if self.printed.acquire(blocking=False):
                    _print(self.farewell(number))
            self.last()
        finally:
            os._exit(128 + number)


def _print(line: str) -> None:
    """Write a line to standard error after what the standard streams hold back."""
    if threading.current_thread() is threading.main_thread():
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # closed, or its reader is gone
                stream.flush()
    # A full pipe that nobody reads, or a terminal that Ctrl-S has stopped, would hold the watch up.
    elif not select.select([], [2], [], 0)[1]:
        return
    os.write(2, f"{line}\n".encode())


class _Watch:
    """A thread that reads the numbers of signals as they come, and ends the process when it is time."""

    def __init__(self, ending: _Ending) -> None:
        self._ending = ending
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        self._before = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._watch, name="corpusmill-signals", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the watch, where no signal came."""
        signal.set_wakeup_fd(self._before)
        os.write(self._writing, bytes([OVER]))
        self._thread.join()
        os.close(self._writing)
        os.close(self._reading)

    def _watch(self) -> None:
        number = self._next()
        while number != OVER and number not in STOPS:
            number = self._next()
        if number != OVER:
            self._outlast(number)
            self._ending.end(number)

    def _outlast(self, number: int) -> None:
        """Return after GRACE, or when another signal asks for the end at once."""
        came = time.monotonic()
        ready = select.poll()  # as `select` it waits, but for a descriptor of any number
        ready.register(self._reading, select.POLLIN)
        while (left := came + GRACE - time.monotonic()) > 0:
            again = number if not ready.poll(1000 * left) else self._next()
            if again in STOPS and time.monotonic() - came >= SAME:
                return

    def _next(self) -> int:
        return os.read(self._reading, 1)[0]
