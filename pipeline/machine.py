"""How a process that computes keeps its memory: freed memory and huge pages stay, plans go.

A batch needs the same tens of megabytes again and again. By default glibc hands them back to the system, to
get them again page by page and zeroed; and each page of 4 KB takes an entry where addresses are looked up.
oneDNN's plans are another matter: it makes one for every shape that it meets, some 0.3 MB each and as much
again in holes between them, and with sequences of every length it would keep a thousand that are hardly met
again, and ideep before it as many.
"""

import ctypes
import os
import platform
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

# mallopt's numbers for its settings, and what they are set to: the largest threshold that glibc takes, and
# more than a process frees.
SETTINGS = ((-3, 32 << 20), (-1, 1 << 30))  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
# Huge pages for torch. Plans kept: more than a batch of 2,048 tokens has shapes, as all layers take turns: at
# most 63 lengths with two products each, or 23 whose scores are worth oneDNN's softmax and its copies too.
ENVIRONMENT = {
    "THP_MEM_ALLOC_ENABLE": "1",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "160",
    "LRU_CACHE_CAPACITY": "16",
}

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Microseconds of CPU time, or `max`, in a period of so many: what a container sees of its control group."""

CPUINFO = Path("/proc/cpuinfo")


def keep_memory() -> None:
    """Set this process up for computing, before torch computes anything; without glibc only torch is.

    A setting of the user's own environment stays.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    mallopt = _of_glibc("mallopt")
    if mallopt is not None and not any(name.startswith("MALLOC_") for name in os.environ):
        for number, setting in SETTINGS:
            mallopt(number, setting)


def hide_pandas() -> None:
    """Have Arrow find no pandas in this process, if it has not looked yet.

    It imports pandas, 28 MB, to see whether a value is one of its own, which ours never are. It looks once;
    whoever imports pandas afterwards gets it.
    """
    # Imported here: the command line, which knows these settings, shows its help without waiting for Arrow.
    import pyarrow as pa

    absent = _MissingModule("pandas")
    sys.meta_path.insert(0, absent)
    try:
        pa.scalar(0)
    finally:
        sys.meta_path.remove(absent)


class MemoryRelease:
    """The return of freed memory to the system: after loading, then at intervals.

    Plans and buffers lie between one another, and what is left between them adds up. A release takes 5 ms,
    and what is needed again has to be got page by page: too much for every batch, little for every minute.
    """

    def __init__(self, every: float = 60.0) -> None:
        self._every = every
        self._due = 0.0

    def when_due(self, now: float) -> None:
        """Release if so many seconds have passed; `now` is a clock's."""
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


# The CPUs of this machine: how many this process may use, and what they are.


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
