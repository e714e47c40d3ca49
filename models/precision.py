"""Which dtype `auto` means, by trying: half precision collapses on CPUs without instructions for it."""

import time
from dataclasses import dataclass

import torch
from torch import nn

from corpusmill.models.checkpoint import Checkpoint
from corpusmill.models.linear import lay_out

TOKENS, ROUNDS = 1024, 7
# bfloat16 costs accuracy, and must be worth it.
WORTH = 1.2


@dataclass(frozen=True)
class DtypeChoice:
    """A dtype's name, and why it is that one."""

    dtype: str
    reason: str


def choose_dtype(checkpoint: Checkpoint, device: str = "cpu") -> DtypeChoice:
    """float32 or bfloat16, never int8; on a CPU after a matrix product of the checkpoint's width in both.

    The products take some 0.1 s, with as many threads as torch has.
    """
    if "float16" in checkpoint.refused_dtypes:
        return DtypeChoice("float32", f"float32: {checkpoint.refused_dtypes['float16']}")
    if torch.device(device).type == "cuda":
        return _for_cuda()
    wide, narrow = (product_seconds(checkpoint.width, dtype) for dtype in (torch.float32, torch.bfloat16))
    return pick(wide / narrow)


def pick(speed_up: float) -> DtypeChoice:
    """The choice, where bfloat16 takes a product `speed_up` times faster than float32."""
    name = "bfloat16" if speed_up >= WORTH else "float32"
    measured = f"this CPU multiplies bfloat16 {speed_up:.2f} times as fast as float32"
    return DtypeChoice(name, f"{name}: {measured} (worth it from {WORTH})")


def product_seconds(width: int, dtype: torch.dtype) -> float:
    """The best time of a feed-forward map, laid out as a loaded model's."""
    linear = nn.Sequential(nn.Linear(width, 4 * width, dtype=dtype)).requires_grad_(False)
    lay_out(linear, dtype=dtype, device=torch.device("cpu"))
    x_TD = torch.ones(TOKENS, width, dtype=dtype)
    linear(x_TD)
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        linear(x_TD)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _for_cuda() -> DtypeChoice:
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return DtypeChoice("bfloat16", "bfloat16: this GPU multiplies it natively")
    return DtypeChoice("float32", "float32: this GPU has no bfloat16 products")
