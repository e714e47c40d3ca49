"""Which dtype `auto` means, by trying: half precision collapses on CPUs without instructions for it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from corpusmill.models.checkpoint import Checkpoint
from corpusmill.models.linear import lay_out
from corpusmill.models.quantized import has_int8_products, quantized_linear

TOKENS, ROUNDS = 1024, 7
# Fewer bits cost accuracy, and must be worth it: this many times the speed of the next larger dtype.
WORTH = 1.2
# Below this, a product is mostly the call itself, and its measurement noise: another each time.
LEAST_WIDTH = 128


@dataclass(frozen=True)
class DtypeChoice:
    """A dtype's name, and why it is that one."""

    dtype: str
    reason: str


def choose_dtype(checkpoint: Checkpoint, device: str = "cpu", *, allow_int8: bool = False) -> DtypeChoice:
    """float32 or bfloat16, or int8 if that is allowed; on a CPU after a matrix product in each.

    The products are of the checkpoint's width and take some 0.1 s, with as many threads as torch has.
    """
    if "float16" in checkpoint.refused_dtypes:
        return DtypeChoice("float32", f"float32: {checkpoint.refused_dtypes['float16']}")
    if torch.device(device).type == "cuda":
        return _for_cuda()
    if checkpoint.width < LEAST_WIDTH:
        return DtypeChoice("float32", f"float32: {checkpoint.width} wide, too little to gain from")
    names = ["float32", "bfloat16"]
    if allow_int8 and "int8" not in checkpoint.refused_dtypes and has_int8_products():
        names.append("int8")
    return pick({name: product_seconds(checkpoint.width, name) for name in names})


def pick(seconds: Mapping[str, float]) -> DtypeChoice:
    """The choice, where a product takes this long in each dtype, from most bits to fewest."""
    exact = seconds["float32"]
    chosen = "float32"
    for name, taken in seconds.items():
        if seconds[chosen] >= WORTH * taken:
            chosen = name
    measured = " and ".join(
        f"{name} {exact / taken:.2f} times as fast as float32"
        for name, taken in seconds.items()
        if name != "float32"
    )
    return DtypeChoice(chosen, f"{chosen}: this CPU multiplies {measured} (worth it from {WORTH})")


def product_seconds(width: int, dtype: str) -> float:
    """The best time of a feed-forward map, laid out as a loaded model's; infinite if it cannot be."""
    floating = torch.bfloat16 if dtype == "bfloat16" else torch.float32
    linear = nn.Linear(width, 4 * width, dtype=floating).requires_grad_(False)
    laid_out = _laid_out(linear, dtype)
    if laid_out is None:
        return float("inf")
    x_TD = torch.ones(TOKENS, width, dtype=floating)
    laid_out(x_TD)
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        laid_out(x_TD)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _laid_out(linear: nn.Linear, dtype: str) -> nn.Module | None:
    if dtype == "int8":
        return quantized_linear(linear)
    laid_out = nn.Sequential(linear)
    lay_out(laid_out, dtype=linear.weight.dtype, device=torch.device("cpu"))
    return laid_out


def _for_cuda() -> DtypeChoice:
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return DtypeChoice("bfloat16", "bfloat16: this GPU multiplies it natively")
    return DtypeChoice("float32", "float32: this GPU has no bfloat16 products")
