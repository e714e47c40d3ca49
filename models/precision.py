"""The choice of dtype `auto` by measurement: half precision is slow on CPUs without instructions for it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from corpusmill.models.checkpoints.checkpoint import Checkpoint
from corpusmill.models.cpu.int8 import has_int8_products
from corpusmill.models.cpu.layout import eight_bit_map, lay_out

TOKENS, ROUNDS = 1024, 7
# Fewer bits cost accuracy, so they must be this many times as fast as the next larger dtype.
WORTH = 1.2
# In narrower products the cost of the call dominates, so measurements are noise.
NARROWEST = 128


@dataclass(frozen=True)
class DtypeChoice:
    """A dtype's name, and why it is that one."""

    dtype: str
    reason: str


def measure(width: int, dtypes: Sequence[str]) -> DtypeChoice:
    """Return the choice among dtypes, after measuring a product of this width in each for about 0.1 s."""
    return pick(product_seconds(width, dtypes))


def choose_dtype(
    checkpoint: Checkpoint,
    device: str = "cpu",
    *,
    allow_int8: bool = False,
    measured: Callable[[int, Sequence[str]], DtypeChoice] = measure,
) -> DtypeChoice:
    """Choose float32 or bfloat16, or int8 if allowed; on a CPU by `measured` at the checkpoint's width."""
    if "float16" in checkpoint.refused_dtypes:
        return DtypeChoice("float32", f"float32: {checkpoint.refused_dtypes['float16']}")
    if torch.device(device).type == "cuda":
        return _for_cuda()
    if checkpoint.width < NARROWEST:
        return DtypeChoice(
            "float32", f"float32: a model {checkpoint.width} wide is hardly faster in fewer bits"
        )
    names = ["float32", "bfloat16"]
    if allow_int8 and "int8" not in checkpoint.refused_dtypes and has_int8_products():
        names.append("int8")
    return measured(checkpoint.width, names)


def pick(seconds: Mapping[str, float]) -> DtypeChoice:
    """Return the choice for these seconds of a product in each dtype, from most bits to fewest."""
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
    return DtypeChoice(chosen, f"{chosen}: this CPU multiplies {measured} (used from {WORTH} on)")


def product_seconds(width: int, dtypes: Sequence[str]) -> dict[str, float]:
    """Return the best times of a feed-forward map, laid out as in a loaded model, for each possible dtype.

    The dtypes take turns, so that other work on the machine slows all of them alike.
    """
    layers = {name: layer for name in dtypes if (layer := _layer(width, name)) is not None}
    inputs = {name: torch.ones(TOKENS, width, dtype=_floating(name)) for name in layers}
    seconds = dict.fromkeys(layers, float("inf"))
    for name, layer in layers.items():
        layer(inputs[name])
    for _ in range(ROUNDS):
        for name, layer in layers.items():
            start = time.perf_counter()
            layer(inputs[name])
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    return seconds


def _layer(width: int, dtype: str) -> nn.Module | None:
    linear = nn.Linear(width, 4 * width, dtype=_floating(dtype)).requires_grad_(False)
    if dtype == "int8":
        return eight_bit_map(linear)
    laid_out = nn.Sequential(linear)
    lay_out(laid_out, dtype=_floating(dtype), device=torch.device("cpu"))
    return laid_out


def _floating(dtype: str) -> torch.dtype:
    return torch.bfloat16 if dtype == "bfloat16" else torch.float32


def _for_cuda() -> DtypeChoice:
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return DtypeChoice("bfloat16", "bfloat16: this GPU multiplies it natively")
    return DtypeChoice("float32", "float32: this GPU has no bfloat16 products")
