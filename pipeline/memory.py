"""How a process that computes keeps its memory: freed memory stays, and large buffers lie in huge pages.

A batch needs the same tens of megabytes again and again. By default glibc hands them back to the system, to
get them again page by page and zeroed; and each page of 4 KB takes an entry where addresses are looked up.
"""

import ctypes
import os
import sys

# mallopt's numbers for its settings, and what they are set to: the largest threshold that glibc takes, and
# more than a batch's buffers.
SETTINGS = ((-3, 32 << 20), (-1, 1 << 30), (-2, 64 << 20))  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD
HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"


def keep_memory() -> None:
    """Set this process up for computing, before torch allocates; does nothing where there is no glibc.

    A setting of the user's own environment stays.
    """
    os.environ.setdefault(HUGE_PAGES, "1")
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for number, value in SETTINGS:
            mallopt(number, value)
