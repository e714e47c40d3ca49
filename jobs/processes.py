"""Which process of which machine: numbers alone are given again, to later processes and in containers."""

import os
import socket
from functools import cache
from pathlib import Path


@cache
def machine() -> str:
    """Return what tells this machine from others of its name, its next boot, and containers on it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def process_start(pid: int) -> str | None:
    """Return when a process of this machine started, in ticks since boot; None if there is none.

    Where the system does not tell, "" stands for a process that is there.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else _answers(pid)
    # The second field, the command's name in parentheses, may hold spaces; the state comes after it.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else fields[19]


def _answers(pid: int) -> str | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return ""
    return ""
