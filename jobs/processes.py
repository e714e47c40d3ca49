"""Which process of which machine: numbers alone are given again, to later processes and in containers."""

import os
import socket
from functools import cache
from pathlib import Path

import psutil


@cache
def machine() -> str:
    """Return what tells this machine from others of its name, its next boot, and containers on it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def process_start(pid: int) -> str | None:
    """Return when a process of this machine started; None if there is none, or only what is left of it.

    On Linux that is in ticks since boot: a time of day would change with the clock, and a living driver would
    seem to be another. "" stands for a process that may not be looked at.
    """
    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None
        return _ticks(pid) if psutil.LINUX else f"{process.create_time():.2f}"
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return None
    except (psutil.AccessDenied, PermissionError):
        return ""


def _ticks(pid: int) -> str:
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    # The second field, the command's name in parentheses, may hold spaces; the state comes after it.
    return stat.rpartition(")")[2].split()[19]
