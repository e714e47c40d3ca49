"""Signals that come at a bad moment: in a destructor, or where the way out is blocked."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.interrupts import interrupts_heard
from workshop import Workshop

LONGEST = 60.0
"""Seconds after which a process that should have ended is a failure."""
START = """
import os, sys, threading, time
from corpusmill.jobs.driver import signals
from corpusmill.jobs.driver.signals import raise_pending, terminable

def farewell(number):
    return f"farewell {number:d}"

def wait():
    print("waiting", flush=True)
    time.sleep(60)
"""
DROPPED = """
class Destroyed:
    def __del__(self):
        wait()

with terminable(farewell):
    Destroyed()
    print("dropped", flush=True)
    raise_pending()
    time.sleep(60)
"""
CHANGED = """
with terminable(farewell):
    try:
        wait()
    except BaseException as stop:
        raise SystemError("returned a result with an exception set") from stop
"""
ITSELF = """
try:
    with terminable(farewell):
        raise SystemError
except SystemError:
    print("waiting", flush=True)
    sys.stdin.read()  # until the end of the test: the signal has its usual meaning again
"""
BLOCKED = """
signals.GRACE = 0.5
taken = threading.Lock()
taken.acquire()
with terminable(farewell):
    try:
        wait()
    finally:
        taken.acquire()
"""
AGAIN = """
signals.DUPLICATE_WITHIN = 0.0
taken = threading.Lock()
taken.acquire()
with terminable(farewell):
    try:
        wait()
    finally:
        print("unwinding", flush=True)
        taken.acquire()
"""
TWICE = """
with terminable(farewell):
    try:
        wait()
    finally:
        print("unwinding", flush=True)
        sys.stdin.readline()
        print("unwound", flush=True)
"""
FINISHED = """
import atexit
signals.GRACE = 0.5
atexit.register(threading.Event().wait)
with terminable(farewell):
    try:
        wait()
    except KeyboardInterrupt:
        pass
"""
LATE = """
import atexit
atexit.register(print, "end of the interpreter")
threading.Thread(target=threading.Event().wait).start()  # the end of the interpreter waits for it
with terminable(farewell, lambda: print("last", flush=True)):
    try:
        wait()
    finally:
        print("kept back, ", end="")
"""
UNREAD = """
signals.GRACE = 0.5
taken = threading.Lock()
taken.acquire()
os.set_blocking(2, False)
try:
    while True:
        os.write(2, b"x" * 4096)
except BlockingIOError:
    os.set_blocking(2, True)
with terminable(farewell):
    try:
        wait()
    finally:
        taken.acquire()
"""
FAILING = """
def last():
    raise OSError("no such process")

with terminable(farewell, last):
    wait()
"""
IGNORED = """
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
signals.GRACE = 0.5
with terminable(farewell):
    print("waiting", flush=True)
    time.sleep(2)
print("undisturbed")
"""


RUN = """
from corpusmill.jobs.cli.app import main
from corpusmill.pipeline.engine import inline

whole = inline.commit

class Destroyed:
    def __del__(self):
        wait()

def committed(*arguments, **options):
    Destroyed()
    return whole(*arguments, **options)

inline.commit = committed
main()
"""


@contextmanager
def waiting(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start a process of this code and yield it once it waits; end it in any case."""
    command = [sys.executable, "-c", START + code, *arguments]
    pipe = subprocess.PIPE
    with interrupts_heard():
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "waiting\n"
            yield process
        finally:
            process.kill()


def sent(code: str, number: int, *arguments: str) -> tuple[int, str, str]:
    """Send a signal to a process of this code while it waits: its exit code, and what it printed then."""
    with waiting(code, *arguments) as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=LONGEST)
    return process.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_python_drops_is_raised_again(number: int) -> None:
    """What a destructor raises goes nowhere."""
    code, out, err = sent(DROPPED, number)
    assert (code, out) == (128 + number, "dropped\n"), err
    assert err.endswith(f"farewell {number:d}\n")


def test_an_error_that_a_signal_became_is_the_signal() -> None:
    """Compiled code makes another exception of it."""
    assert sent(CHANGED, signal.SIGTERM) == (143, "", "farewell 15\n")


def test_without_a_signal_an_error_is_itself() -> None:
    """After the block a signal is what it was before: SIGTERM kills."""
    assert sent(ITSELF, signal.SIGTERM) == (-signal.SIGTERM, "", "")


@pytest.mark.slow
def test_a_run_stops_although_python_dropped_the_signal(workshop: Workshop) -> None:
    """After the unit that it is at, which is committed."""
    workshop.numbered(40)
    job = str(workshop.job())
    code, out, err = sent(RUN, signal.SIGTERM, "run", job, "--executor", "inline")
    assert (code, out) == (143, ""), err
    assert err.endswith(f"continue with: corpusmill run {job} --executor inline\n")
    assert len(workshop.data()) == 1
    assert workshop.cli("run", job).exit_code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_whose_way_out_is_blocked_ends(number: int) -> None:
    """By a lock that a signal left taken: it says what it would have said, with the same exit code."""
    code, out, err = sent(BLOCKED, number)
    assert (code, out, err) == (128 + number, "", f"farewell {number:d}\n")


def test_a_second_signal_ends_the_process_at_once() -> None:
    """Where the way out takes long, nobody has to wait for it; the exit code is the first signal's."""
    with waiting(AGAIN) as process:
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        assert process.stdout.readline() == "unwinding\n"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=LONGEST)
    assert (process.returncode, out, err) == (130, "", "farewell 2\n")


def test_two_signals_at_once_are_one() -> None:
    """The second does not disturb the way out: `timeout` sends it to the process and to its group."""
    with waiting(TWICE) as process:
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert process.stdout.readline() == "unwinding\n"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate("\n", timeout=LONGEST)
    assert (process.returncode, out, err) == (143, "unwound\n", "farewell 15\n")


def test_the_watch_goes_on_when_the_block_is_left() -> None:
    """What hangs at the end of the interpreter is ended too, also where the block swallowed the signal."""
    assert sent(FINISHED, signal.SIGINT) == (130, "", "farewell 2\n")


def test_a_signal_leaves_out_the_end_of_the_interpreter() -> None:
    """It waits for threads and calls what libraries have registered; what was printed is not lost."""
    assert sent(LATE, signal.SIGTERM) == (143, "kept back, last\n", "farewell 15\n")


def test_a_farewell_that_nobody_reads_holds_nothing_up() -> None:
    """Standard error is a full pipe, as of a terminal that Ctrl-S has stopped."""
    with waiting(UNREAD) as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=LONGEST) == 130


def test_a_failure_at_the_very_end_does_not_keep_the_process() -> None:
    """The exit code is the signal's."""
    assert sent(FAILING, signal.SIGTERM) == (143, "", "farewell 15\n")


def test_a_signal_that_was_ignored_stays_so() -> None:
    """As in what `nohup` runs."""
    assert sent(IGNORED, signal.SIGINT) == (0, "undisturbed\n", "")
