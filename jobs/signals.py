"""SIGTERM and Ctrl-C as exceptions: a job that is told to end is unwound, and ended if that takes too long.

An exception that a signal raises can come at a bad moment: in a destructor or a callback Python drops it, and
between the taking of a lock and its `try` it leaves the lock taken for ever. So loops ask again with
`raise_pending`, and a thread that needs no lock ends the process where it is still there after GRACE: what is
committed is whole at any time.
"""

import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

GRACE = 8.0
"""Seconds that an orderly end may take."""
OVER = 0
"""Written to the watching thread's pipe where the interpreter writes numbers of signals."""


class Terminated(BaseException):
    """SIGTERM arrived. As KeyboardInterrupt, not an Exception: nothing but the command line catches it."""


STOPS: dict[int, type[BaseException]] = {signal.SIGTERM: Terminated, signal.SIGINT: KeyboardInterrupt}
_PENDING: list[type[BaseException]] = []
"""What arrived: as signals are the process's, so is this."""


@contextmanager
def terminable(farewell: Callable[[int], str]) -> Iterator[None]:
    """Raise in the main thread what STOPS says when a signal arrives; elsewhere signals cannot be set.

    Any error that leaves the block after that is its doing: compiled code makes a SystemError of it, and
    processes that the signal reached too fail. Where the block is not left within GRACE, `farewell` of the
    signal is printed and the process ends.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # One that was ignored stays so: of shells, in what they run in the background, and of `nohup`.
    stops = [number for number in STOPS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _stop) for number in stops}
    with _watched(farewell):
        try:
            yield
        except Exception:
            raise_pending()
            raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            _PENDING.clear()


def raise_pending() -> None:
    """Raise again what a signal has raised, for a loop to call: the first time it may have got lost."""
    if _PENDING:
        raise _PENDING[-1]


def _stop(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001  signal's own signature
    _PENDING.append(STOPS[number])
    raise STOPS[number]


@contextmanager
def _watched(farewell: Callable[[int], str]) -> Iterator[None]:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    thread = threading.Thread(target=_watch, args=(reading, farewell), name="corpusmill-signals", daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.write(writing, bytes([OVER]))
        thread.join()
        os.close(writing)
        os.close(reading)


def _watch(reading: int, farewell: Callable[[int], str]) -> None:
    number = _next(reading)
    while number != OVER and number not in STOPS:
        number = _next(reading)
    deadline = time.monotonic() + GRACE
    again = number
    while again != OVER:
        if not select.select([reading], [], [], max(0.0, deadline - time.monotonic()))[0]:
            os.write(2, f"{farewell(number)}\n".encode())
            os._exit(128 + number)
        again = _next(reading)


def _next(reading: int) -> int:
    return os.read(reading, 1)[0]
