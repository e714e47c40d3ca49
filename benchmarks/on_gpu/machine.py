"""The device: its description, its peak rates, and the timing of calls."""

import platform
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch


def synchronize(device: str) -> None:
    """Wait until the device has finished all work."""
    if device == "cuda":
        torch.cuda.synchronize()


def seconds(call: Callable[[], object], *, device: str, rounds: int, warmups: int = 1) -> float:
    """Return the median seconds of several calls, each until the device has finished, after warm-ups."""
    for _ in range(warmups):
        call()
    taken = []
    for _ in range(rounds):
        synchronize(device)
        began = time.perf_counter()
        call()
        synchronize(device)
        taken.append(time.perf_counter() - began)
    return median(taken)


def describe(device: str) -> dict[str, Any]:
    """Return the names and versions that are published with the figures."""
    import transformers

    found: dict[str, Any] = {
        "device": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    if device == "cuda":
        card = torch.cuda.get_device_properties(0)
        found |= {
            "device": card.name,
            "memory_gib": round(card.total_memory / 2**30, 1),
            "multiprocessors": card.multi_processor_count,
            "cuda": torch.version.cuda,
        }
        try:
            import triton

            found["triton"] = triton.__version__
        except ImportError:
            found["triton"] = None
    return found


def ceilings(device: str, *, small: bool) -> dict[str, float]:
    """Return TFLOP/s of a large bfloat16 product of random numbers, and TB/s of a copy (read and written)."""
    side, size = (256, 2**16) if small else (8192, 2**31)
    a = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    b = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    product = seconds(lambda: torch.mm(a, b), device=device, rounds=10, warmups=3)
    source = torch.randn(size // 4, device=device)
    target = torch.empty_like(source)
    copy = seconds(lambda: target.copy_(source), device=device, rounds=10, warmups=3)
    return {"product_tflops": 2 * side**3 / product / 1e12, "copy_tb_s": 2 * size / copy / 1e12}
