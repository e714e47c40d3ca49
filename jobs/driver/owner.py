"""The owner of an output: a record in `_job/`, so that two drivers never work on one folder at once.

Committed files are safe without it (docs/decisions/0008). It prevents two drivers from doing all work twice.
"""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import psutil

from corpusmill.pipeline.errors import CorpusmillError, JobFailed, OutputError
from corpusmill.pipeline.output.folder import OutputFolder

FILE = "owner.json"
HEARTBEAT_INTERVAL = 15.0
"""Seconds between two heartbeats."""
HEARTBEAT_TIMEOUT = 120.0
"""Seconds without a heartbeat after which an owner on another machine counts as dead."""
TAKE_OVER_ATTEMPTS = 3
"""How often the record is written, if the replaced owner writes its own record again."""
TAKE_OVER_PAUSE = 1.0
"""Seconds between a take-over and the check for another take-over at the same time."""

_OWNED_HERE: set[str] = set()
"""Ids of the owners that run in this process; one whose record could not be removed is not among them."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A driver: its machine, its process, and its last heartbeat (seconds since the epoch).

    `machine` distinguishes machines of one name, and containers. `process_start` distinguishes processes of
    one number.
    """

    id: str
    host: str
    machine: str
    pid: int
    process_start: str
    started: float
    heartbeat: float

    def is_dead(self, now: float) -> bool:
        """Return whether this driver is known to be dead: its process here, its heartbeat elsewhere."""
        if self.machine == machine():
            ended = self.pid == os.getpid() and self.id not in _OWNED_HERE
            return ended or process_start(self.pid) != self.process_start
        return now - self.heartbeat > HEARTBEAT_TIMEOUT

    def __str__(self) -> str:
        started = datetime.fromtimestamp(self.started, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return f"process {self.pid} on {self.host}, which started {started}"


class Ownership:
    """The ownership of an output: sends heartbeats in the background, and notices a take-over."""

    def __init__(self, folder: OutputFolder, owner: Owner) -> None:
        self._folder, self._owner = folder, owner
        self._ended = threading.Event()
        self._successor: Owner | None = None
        self._thread = threading.Thread(target=self._renew, name="corpusmill-owner", daemon=True)
        self._thread.start()

    @property
    def replaced(self) -> bool:
        """Whether another driver has taken the output over."""
        return self._successor is not None

    def check(self) -> None:
        """Raise JobFailed once another driver has taken the output over."""
        if self._successor is not None:
            raise JobFailed(
                f"{self._folder.url}: was taken over by {self._successor}; this run stops, and its "
                "committed units stay"
            )

    def release(self) -> None:
        """End the heartbeats and remove the record."""
        self._ended.set()
        self._thread.join()
        with suppress(CorpusmillError):  # without a store the record cannot be removed; it expires by itself
            current = read_owner(self._folder)
            if current is not None and current.id == self._owner.id:
                self._folder.remove(self._folder.job(FILE))

    def _renew(self) -> None:
        while not self._ended.wait(HEARTBEAT_INTERVAL):
            try:
                current = read_owner(self._folder)
                if current is not None and current.id != self._owner.id:
                    self._successor = current
                    return
                _write(self._folder, replace(self._owner, heartbeat=time.time()))
            except CorpusmillError:
                continue  # the same fault will soon fail a commit, with a message


@contextmanager
def owning(folder: OutputFolder, *, take_over: bool = False) -> Iterator[Ownership]:
    """Own an output while the block runs; another owner that is not known to be dead is an OutputError."""
    owner = _this_process()
    created = folder.create(folder.job(FILE), _content(owner))
    if not created:
        _take_over(folder, owner, forced=take_over)
    _OWNED_HERE.add(owner.id)
    ownership = Ownership(folder, owner)
    try:
        yield ownership
    finally:
        _OWNED_HERE.discard(owner.id)
        ownership.release()


def _take_over(folder: OutputFolder, owner: Owner, *, forced: bool) -> None:
    """Replace the record of a dead owner, or of any if forced."""
    previous = read_owner(folder)
    if previous is not None and not forced and not previous.is_dead(time.time()):
        raise _refusal(folder, previous)
    for _ in range(TAKE_OVER_ATTEMPTS):
        _write(folder, owner)
        # If several drivers take over at this moment, the last record stays: the others see it and stop.
        time.sleep(TAKE_OVER_PAUSE)
        last = read_owner(folder)
        if last is None or last.id == owner.id:
            return
        if previous is None or last.id != previous.id:
            raise _refusal(folder, last)
        # The replaced owner had read its own record just before it was replaced, and has renewed it.
    raise _refusal(folder, previous or owner)


def _refusal(folder: OutputFolder, other: Owner) -> OutputError:
    return OutputError(
        f"{folder.url}: is being written by {other}; its last heartbeat was "
        f"{max(0.0, time.time() - other.heartbeat):.0f} s ago; wait for its end or stop it, or if you know "
        "that it is dead, take over: the same command with --take-over"
    )


def _this_process() -> Owner:
    now = time.time()
    pid = os.getpid()
    return Owner(uuid.uuid4().hex, socket.gethostname(), machine(), pid, process_start(pid) or "", now, now)


def _content(owner: Owner) -> bytes:
    return (json.dumps(asdict(owner), indent=1) + "\n").encode()


def _write(folder: OutputFolder, owner: Owner) -> None:
    folder.put(folder.job(FILE), _content(owner))


def read_owner(folder: OutputFolder) -> Owner | None:
    """Read the owner of an output; None without an owner, or if the record is damaged."""
    try:
        return Owner(**json.loads(folder.read(folder.job(FILE))))
    except (FileNotFoundError, ValueError, TypeError):
        return None


# The identity of a process: its number alone is used again, by later processes and in containers.


@cache
def machine() -> str:
    """Return an identity of this machine that differs from its next boot, and from containers on it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def process_start(pid: int) -> str | None:
    """Return the start time of a process of this machine; None if it does not exist or is a zombie.

    On Linux this is in ticks since boot: a time of day would change with the clock, and a living driver would
    look like another one. "" stands for a process without permission to read its start.
    """
    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None
        return _start_ticks(pid) if psutil.LINUX else f"{process.create_time():.2f}"
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return None
    except (psutil.AccessDenied, PermissionError):
        return ""


def _start_ticks(pid: int) -> str:
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    # The second field, the command's name in parentheses, may hold spaces; the state comes after it.
    return stat.rpartition(")")[2].split()[19]
