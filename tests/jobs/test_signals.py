"""Signals that come at a bad moment: in a destructor, or where the way out is blocked."""

import signal
import subprocess
import sys

import pytest
from workshop import Workshop

START = """
import threading, time
from corpusmill.jobs import signals
from corpusmill.jobs.signals import Terminated, raise_pending, terminable

def wait():
    print("waiting", flush=True)
    time.sleep(60)
"""
DROPPED = """
class Destroyed:
    def __del__(self):
        wait()

try:
    with terminable(str):
        Destroyed()
        print("dropped", flush=True)
        raise_pending()
        time.sleep(60)
except (Terminated, KeyboardInterrupt) as stop:
    print(type(stop).__name__)
with terminable(str):
    raise_pending()
"""
CHANGED = """
try:
    with terminable(str):
        try:
            wait()
        except BaseException as stop:
            raise SystemError("returned a result with an exception set") from stop
except (Terminated, KeyboardInterrupt) as stop:
    print(type(stop).__name__)
try:
    with terminable(str):
        raise SystemError
except SystemError:
    print("itself")
"""
BLOCKED = """
signals.GRACE = 0.5
taken = threading.Lock()
taken.acquire()
with terminable(lambda number: f"farewell {number}"):
    try:
        wait()
    finally:
        taken.acquire()
"""
IGNORED = """
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
signals.GRACE = 0.5
with terminable(str):
    print("waiting", flush=True)
    time.sleep(2)
print("undisturbed")
"""


RUN = """
from corpusmill.jobs.cli import main
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


def sent(code: str, number: int, *arguments: str) -> tuple[int, str, str]:
    """Send a signal to a process of this code while it waits: its exit code, and what it printed then."""
    command = [sys.executable, "-c", START + code, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "waiting\n"
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    return process.returncode, out, err


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGTERM, "Terminated"), (signal.SIGINT, "KeyboardInterrupt")]
)
def test_a_signal_that_python_drops_is_raised_again(number: int, name: str) -> None:
    """What a destructor raises goes nowhere; a signal that was seen is forgotten with its block."""
    code, out, err = sent(DROPPED, number)
    assert (code, out) == (0, f"dropped\n{name}\n"), err


def test_an_error_that_a_signal_became_is_the_signal() -> None:
    """Compiled code makes another exception of it; without a signal an error is itself."""
    assert sent(CHANGED, signal.SIGTERM) == (0, "Terminated\nitself\n", "")


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


def test_a_signal_that_was_ignored_stays_so() -> None:
    """As in what `nohup` runs."""
    assert sent(IGNORED, signal.SIGINT) == (0, "undisturbed\n", "")
