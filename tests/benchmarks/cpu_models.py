"""Throughput of checkpoints on this CPU against its matrix-product ceiling, in one interleaved run.

    python tests/benchmarks/cpu_models.py CHECKPOINT ... --dtypes float32,bfloat16,int8 --threads 1

Prints one JSON object. Ids are random; lengths are spread like those of Debian's package descriptions (median
76, cut at 512). With one thread the clock is the thread's own CPU time, which strangers disturb less.
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from corpusmill.models import Model, PackedTokens, load_model

MEDIAN, SPREAD, SHORTEST, LONGEST = 76, 0.65, 8, 512
SHAPE = (2048, 768, 3072)


def batches(documents: int, budget: int) -> list[PackedTokens]:
    """Documents by length, longest first, as many a batch as the budget of tokens holds."""
    random = np.random.default_rng(0)
    lengths = random.lognormal(np.log(MEDIAN), SPREAD, documents).astype(int).clip(SHORTEST, LONGEST)
    groups: list[list[Any]] = [[]]
    total = 0
    for length in sorted(lengths.tolist(), reverse=True):
        if total + length > budget:
            groups.append([])
            total = 0
        groups[-1].append(random.integers(5, 1000, length))
        total += length
    return [PackedTokens.from_sequences(group) for group in groups]


def ceiling(dtype: str) -> Callable[[], Any]:
    """The product that dominates a layer 768 wide, as fast as torch multiplies it."""
    m, k, n = SHAPE
    if dtype == "int8":
        a, b = torch.ones(m, k, dtype=torch.int8), torch.ones(k, n, dtype=torch.int8)
        return lambda: torch._int_mm(a, b)
    x, w = (torch.randn(*size, dtype=getattr(torch, dtype)) for size in ((m, k), (n, k)))
    packed = torch.ops.mkldnn._reorder_linear_weight(w, m)
    return lambda: torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")


def flops(model: Model, packs: list[PackedTokens]) -> int:
    lengths = (int(length) for packed in packs for length in packed.lengths)
    return sum(model.checkpoint.flops_per_token(length) * length for length in lengths)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoints", nargs="+")
    parser.add_argument("--dtypes", default="float32,bfloat16,int8")
    parser.add_argument("--documents", type=int, default=128)
    parser.add_argument("--tokens-per-batch", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    clock = time.thread_time if args.threads == 1 else time.perf_counter
    packs = batches(args.documents, args.tokens_per_batch)
    tokens = sum(len(packed.input_ids) for packed in packs)
    dtypes = args.dtypes.split(",")
    models: dict[tuple[str, str], Model] = {}
    for folder in args.checkpoints:
        for dtype in dtypes:
            models[folder, dtype] = load_model(folder, task="base", dtype=dtype)
    runs: dict[Any, Callable[[], Any]] = {dtype: ceiling(dtype) for dtype in dtypes}
    runs |= {key: lambda model=model: [model(packed) for packed in packs] for key, model in models.items()}
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(args.rounds):
        for key, run in runs.items():
            for _ in range(10 if key in dtypes else 1):
                start = clock()
                run()
                best[key] = min(best[key], clock() - start)
    limits = {dtype: 2 * np.prod(SHAPE) / best[dtype] / 1e9 for dtype in dtypes}
    rows = [
        {
            "checkpoint": folder,
            "dtype": dtype,
            "tokens_per_second": round(tokens / best[folder, dtype]),
            "share_of_ceiling": round(flops(model, packs) / best[folder, dtype] / 1e9 / limits[dtype], 3),
        }
        for (folder, dtype), model in models.items()
    ]
    ceilings = {dtype: round(limit) for dtype, limit in limits.items()}
    print(json.dumps({"tokens": tokens, "threads": args.threads, "ceilings_gflops": ceilings, "rows": rows}))


if __name__ == "__main__":
    main()
