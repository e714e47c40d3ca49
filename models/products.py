"""How fast a device multiplies plain matrices: what a model's own rate is a share of."""

import time

import torch

from corpusmill.models.precision import product_seconds

TOKENS, ROUNDS = 1024, 7
CUDA_TOKENS = 16_384
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def product_rate(width: int, *, dtype: str, device: str) -> float:
    """FLOP/s of a feed-forward map of this width on torch's threads; 0 for int8, whose maps quantize too."""
    if dtype not in DTYPES:
        return 0.0
    if torch.device(device).type == "cuda":
        return 8.0 * CUDA_TOKENS * width * width / _cuda_seconds(width, DTYPES[dtype])
    return 8.0 * TOKENS * width * width / product_seconds(width, [dtype])[dtype]


def _cuda_seconds(width: int, dtype: torch.dtype) -> float:
    x_TD = torch.ones(CUDA_TOKENS, width, dtype=dtype, device="cuda")
    w_DF = torch.ones(width, 4 * width, dtype=dtype, device="cuda")
    seconds = []
    for _ in range(ROUNDS):
        torch.cuda.synchronize()
        start = time.perf_counter()
        torch.mm(x_TD, w_DF)
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])
