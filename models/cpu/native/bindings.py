"""The compiled library, through ctypes; its structures are those of `kernels.h`."""

import ctypes
import os
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import torch

from corpusmill.models.errors import in_a_line

FLOAT32, BFLOAT16 = 0, 1
LINEAR_FLOAT32, LINEAR_BFLOAT16, LINEAR_INT8, NORM, SCALE_AND_SHIFT = range(5)
NONE, RELU, GELU, GELU_TANH = range(4)

NUMBERS = {torch.float32: FLOAT32, torch.bfloat16: BFLOAT16}
"""The library's numbers for the dtypes of rows."""
# Set it to use the layers of other CPUs: for comparisons, or if the library has a fault.
SWITCH = "CORPUSMILL_NATIVE"

NOT_COMPILED = "they were not compiled, because corpusmill was installed without a C compiler for x86"

_pointer, _int32, _int64 = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64


class Buffer(ctypes.Structure):
    """Rows of numbers; without a base they exist only while a block is computed."""

    _fields_ = [
        ("base", _pointer),
        ("stride", _int64),
        ("type", _int32),
        ("width", _int32),
    ]


class Step(ctypes.Structure):
    """One step on each row, on columns of buffers."""

    _fields_ = [
        ("kind", _int32),
        ("activation", _int32),
        ("source", _int32),
        ("source_column", _int32),
        ("target", _int32),
        ("target_column", _int32),
        ("residual", _int32),
        ("residual_column", _int32),
        ("inputs", _int32),
        ("outputs", _int32),
        ("eps", ctypes.c_float),
        ("weight", _pointer),
        ("scale", _pointer),
        ("sums", _pointer),
        ("bias", _pointer),
    ]


class AttentionCall(ctypes.Structure):
    """Heads that lie side by side in rows, and where sequences begin."""

    _fields_ = [
        ("q", _pointer),
        ("k", _pointer),
        ("v", _pointer),
        ("out", _pointer),
        ("q_stride", _int64),
        ("k_stride", _int64),
        ("v_stride", _int64),
        ("out_stride", _int64),
        ("q_head", _int64),
        ("k_head", _int64),
        ("v_head", _int64),
        ("out_head", _int64),
        ("starts", _pointer),
        ("sequences", _int32),
        ("heads", _int32),
        ("width", _int32),
        ("type", _int32),
        ("threads", _int32),
    ]


@cache
def library() -> tuple[ctypes.CDLL | None, str]:
    """Return the library, or None if it cannot be used, and the reason."""
    if os.environ.get(SWITCH) == "0":
        return None, f"{SWITCH}=0 is set"
    folder = Path(__file__).parent
    files = [file for suffix in EXTENSION_SUFFIXES if (file := folder / f"_kernels{suffix}").is_file()]
    if not files:
        return None, NOT_COMPILED
    try:
        loaded = ctypes.CDLL(str(files[0]))
        supported, sizes = loaded.corpusmill_supported(), loaded.corpusmill_sizes()
    except (OSError, AttributeError) as error:
        return None, f"they cannot be loaded: {in_a_line(error)}"
    if sizes != sum(
        ctypes.sizeof(each) << 8 * place for place, each in enumerate((Buffer, Step, AttentionCall))
    ):
        return None, "they were compiled from another version of corpusmill: install it again"
    if not supported:
        return None, "this CPU lacks AVX-512 with VNNI and bfloat16"
    loaded.corpusmill_run.argtypes = [_pointer, ctypes.c_int, _pointer, ctypes.c_int, _int64, ctypes.c_int]
    loaded.corpusmill_attend.argtypes = [_pointer]
    loaded.corpusmill_use_threads.argtypes = [_pointer]
    loaded.corpusmill_use_threads.restype = None
    loaded.corpusmill_use_threads(_threads())
    return loaded, "AVX-512 kernels"


def advice() -> str | None:
    """Return what the user can do to get the kernels; None if nothing can be done."""
    reason = library()[1]
    if reason != NOT_COMPILED or not torch.cpu._is_avx512_bf16_supported():
        return None
    return f"has no kernels in C, which are faster: {reason}; install gcc, then corpusmill again"


def _threads() -> int | None:
    """Return the address of the function of torch's OpenMP that starts threads; None if there is none."""
    try:
        return ctypes.cast(ctypes.CDLL(None).GOMP_parallel, _pointer).value
    except AttributeError:
        return None


def check(status: int) -> None:
    """Raise MemoryError if a call of the library failed for lack of memory."""
    if status:
        raise MemoryError("no memory for a block of rows")
