"""The memory settings of a process that computes, and the CPUs of this machine.

Every batch needs the same tens of megabytes. By default glibc returns them to the system after a batch and
gets them again, page by page and zeroed. So freed memory is kept, and huge pages save entries of the TLB. The
plans (primitives) of oneDNN are limited: it creates one per shape, of 0.3 MB and as much fragmentation around
it. With sequences of every length it would keep a thousand plans that are seldom used again, and so would
ideep.
"""

import ctypes
import os
import platform
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

# Settings of mallopt: the largest threshold that glibc accepts, and more than a process frees.
SETTINGS = ((-3, 32 << 20), (-1, 1 << 30))  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
# Huge pages for torch. The plans that are kept are more than the shapes of a batch of 2,048 tokens, which
# every layer needs again: at most 63 lengths with two products each, or 23 lengths with a softmax and copies
# of oneDNN.
ENVIRONMENT = {
    "THP_MEM_ALLOC_ENABLE": "1",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "160",
    "LRU_CACHE_CAPACITY": "16",
}

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""The CPU limit of a container: microseconds of CPU time, or `max`, and microseconds of the period."""

CPUINFO = Path("/proc/cpuinfo")


def keep_memory() -> None:
    """Make glibc and torch keep memory; call this before torch computes anything.

    Settings in the user's environment are kept.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    mallopt = _of_glibc("mallopt")
    if mallopt is not None and not any(name.startswith("MALLOC_") for name in os.environ):
        for number, setting in SETTINGS:
            mallopt(number, setting)


def hide_pandas() -> None:
    """Hide pandas from Arrow in this process, if Arrow has not imported it yet.

    Arrow imports pandas (28 MB) to check whether a value is of pandas, which never happens here. It tries
    once; later imports of pandas work.
    """
    # Imported here: the command line imports this module, and its help need not wait for Arrow.
    import pyarrow as pa

    absent = _MissingModule("pandas")
    sys.meta_path.insert(0, absent)
    try:
        pa.scalar(0)
    finally:
        sys.meta_path.remove(absent)


class MemoryRelease:
    """The return of freed memory to the system: after loading, then at intervals.

    Fragments between plans and buffers add up. A release takes 5 ms, and memory that is needed again comes
    back page by page: too much for every batch, little for every minute.
    """

    def __init__(self, every: float = 60.0) -> None:
        self._every = every
        self._due = 0.0

    def when_due(self, now: float) -> None:
        """Release memory if the interval has passed; `now` is the time of any monotonic clock."""
        if now >= self._due:
            self._due = now + self._every
            trim = _of_glibc("malloc_trim")
            if trim is not None:
                trim(0)


def _of_glibc(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


class _MissingModule:
    """An importer for which a module does not exist."""

    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(self, name: str, *_: Any) -> None:
        if name == self._name:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


# The CPUs of this machine: their number for this process, and their features.


@dataclass(frozen=True, slots=True)
class Processor:
    """A CPU's name and its instruction sets, as the system names them."""

    name: str
    features: frozenset[str]


def compute_threads(cpus: int) -> int:
    """Return the threads that torch may use for a worker with this number of CPUs: at most OMP_THREAD_LIMIT.

    Above this limit, oneDNN divides a product among threads of which some never run. Their part of the result
    stays undefined (torch 2.13).
    """
    limit = os.environ.get("OMP_THREAD_LIMIT", "")
    return max(1, min(cpus, int(limit))) if limit.isdecimal() else cpus


def usable_cpus() -> int:
    """Return the number of CPUs that this process may use, at most the limit of its container."""
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
    """Return this machine's processor; without /proc/cpuinfo its features are unknown."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    # Reversed: every core repeats the fields, and those of the first core are used.
    pairs = (line.partition(":") for line in reversed(lines))
    fields = {key.strip(): value.strip() for key, _, value in pairs}
    name = fields.get("model name") or platform.processor() or platform.machine()
    # x86 names its instruction sets "flags", ARM "Features".
    return Processor(name, frozenset((fields.get("flags") or fields.get("Features") or "").split()))
