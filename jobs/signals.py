"""SIGTERM as an exception: a job that is told to end stops as one that Ctrl-C interrupts."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(BaseException):
    """SIGTERM arrived. As KeyboardInterrupt, not an Exception: nothing but the command line catches it."""


@contextmanager
def terminable() -> Iterator[None]:
    """Raise Terminated in the main thread when SIGTERM arrives; elsewhere signals cannot be set."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  signal's own signature
    raise Terminated
