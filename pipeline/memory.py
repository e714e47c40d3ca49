"""How a process that computes keeps its memory: freed memory and huge pages stay, plans go.

A batch needs the same tens of megabytes again and again. By default glibc hands them back to the system, to
get them again page by page and zeroed; and each page of 4 KB takes an entry where addresses are looked up.
oneDNN's plans are another matter: it makes one for every shape that it meets, some 0.3 MB each, and with
sequences of every length it would keep a thousand that are hardly met again, and ideep before it as many.
"""

import ctypes
import os
import sys

# mallopt's numbers for its settings, and what they are set to: the largest threshold that glibc takes, and
# more than a batch's buffers.
SETTINGS = ((-3, 32 << 20), (-1, 1 << 30), (-2, 64 << 20))  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD
# Huge pages for torch. Plans kept: more than a batch of 2,048 tokens has shapes, as all layers take turns.
ENVIRONMENT = {
    "THP_MEM_ALLOC_ENABLE": "1",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "256",
    "LRU_CACHE_CAPACITY": "16",
}


def keep_memory() -> None:
    """Set this process up for computing, before torch computes anything; without glibc only torch is.

    A setting of the user's own environment stays.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for number, setting in SETTINGS:
            mallopt(number, setting)
