"""Best times of contenders that run in turn, so that a drifting machine hits all of them alike."""

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch

Name = TypeVar("Name")
PRODUCT = (2048, 768, 3072)
"""Rows, inputs and outputs of the matrix product that dominates a layer 768 wide."""
PRODUCTS_A_ROUND = 8


def best_seconds(
    runs: Mapping[Name, Callable[[], object]], *, rounds: int, threads: int
) -> tuple[dict[Name, float], dict[Name, list[float]]]:
    """Run each contender once a round, after one round to warm up; return the best seconds, and all.

    With one thread the clock is that thread's own CPU time, which strangers disturb less.
    """
    clock = time.thread_time if threads == 1 else time.perf_counter
    seconds: dict[Name, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            started = clock()
            run()
            if number:
                seconds[name].append(clock() - started)
    return {name: min(times) for name, times in seconds.items()}, seconds


def product(dtype: str) -> Callable[[], Any]:
    """Return a run of matrix products, as fast as torch multiplies this dtype on a CPU."""
    rows, inputs, outputs = PRODUCT
    if dtype == "int8":
        a, b = torch.ones(rows, inputs, dtype=torch.int8), torch.ones(inputs, outputs, dtype=torch.int8)
        return lambda: torch._int_mm(a, b)
    x, w = (torch.randn(*size, dtype=getattr(torch, dtype)) for size in ((rows, inputs), (outputs, inputs)))
    packed = torch.ops.mkldnn._reorder_linear_weight(w, rows)
    return lambda: torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")


class Ceiling:
    """A machine's limit in one dtype: the best of all products timed, in between the contenders' runs."""

    def __init__(self, dtype: str, *, threads: int) -> None:
        self._run = product(dtype)
        self._clock = time.thread_time if threads == 1 else time.perf_counter
        self._best = float("inf")

    def __call__(self) -> None:
        """Time some products."""
        for _ in range(PRODUCTS_A_ROUND):
            started = self._clock()
            self._run()
            self._best = min(self._best, self._clock() - started)

    @property
    def flops(self) -> float:
        """Operations a second; a multiplication with its addition counts as two."""
        rows, inputs, outputs = PRODUCT
        return 2 * rows * inputs * outputs / self._best
