"""The CPUs of this machine: how many this process may use, and what they are."""

import os
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Microseconds of CPU time, or `max`, in a period of so many: what a container sees of its control group."""


CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Processor:
    """A CPU's name and its instruction sets, as the system names them."""

    name: str
    features: frozenset[str]


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


@cache
def processor() -> Processor:
    """Return this machine's processor; without /proc/cpuinfo its features are not known."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    # Reversed: of a field that every core repeats, the first core's counts.
    pairs = (line.partition(":") for line in reversed(lines))
    fields = {key.strip(): value.strip() for key, _, value in pairs}
    name = fields.get("model name") or platform.processor() or platform.machine()
    # x86 names its instruction sets "flags", ARM "Features".
    return Processor(name, frozenset((fields.get("flags") or fields.get("Features") or "").split()))
