"""The rate at which a device multiplies plain matrices, which a model's own rate is compared with."""

import time
from collections.abc import Callable

import torch
from torch import nn

from corpusmill.models.cpu.int8 import as_bytes, quantized_linear
from corpusmill.models.precision import product_seconds

TOKENS, ROUNDS = 1024, 7
CUDA_TOKENS = 16_384
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def product_rate(width: int, *, dtype: str, device: str) -> float:
    """Return the operations per second of a feed-forward map of this width on torch's threads.

    For int8 the rate is that of the product of bytes, without the quantization before it; 0 for a width that
    is not computed in int8.
    """
    if torch.device(device).type == "cuda":
        return 8.0 * CUDA_TOKENS * width * width / _cuda_seconds(width, DTYPES[dtype])
    if dtype == "int8":
        return _int8_rate(width)
    return 8.0 * TOKENS * width * width / product_seconds(width, [dtype])[dtype]


def _int8_rate(width: int) -> float:
    layer = quantized_linear(nn.Linear(width, 4 * width).requires_grad_(False))
    if layer is None:
        return 0.0
    bytes_TD = as_bytes(torch.ones(TOKENS, width))
    return 8.0 * TOKENS * width * width / _best(lambda: layer.product(bytes_TD))


def _best(call: Callable[[], object]) -> float:
    """Return the least seconds of several calls, after one that warms up."""
    seconds = []
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def _cuda_seconds(width: int, dtype: torch.dtype) -> float:
    x_TD = torch.ones(CUDA_TOKENS, width, dtype=dtype, device="cuda")
    w_DF = torch.ones(width, 4 * width, dtype=dtype, device="cuda")

    def multiply() -> None:
        torch.mm(x_TD, w_DF)
        torch.cuda.synchronize()

    torch.cuda.synchronize()
    return _best(multiply)
