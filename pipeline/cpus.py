"""How many CPUs this process may use: a machine's own number is not what a container gets of it."""

import os
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Microseconds of CPU time, or `max`, in a period of so many: what a container sees of its control group."""


def usable_cpus() -> int:
    """Return the CPUs that this process may run on, and no more than its container has time for."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(there, _quota() or there)


def _quota() -> int | None:
    try:
        time, period = QUOTA.read_text().split()
        return max(1, int(time) // int(period))
    except (OSError, ValueError):
        return None
