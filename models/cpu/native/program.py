"""Programs of steps on single rows, built once and run on the rows of many batches."""

import torch
from torch import Tensor

from corpusmill.models.cpu.native.bindings import (
    NONE,
    NORM,
    NUMBERS,
    SCALE_AND_SHIFT,
    Buffer,
    Step,
    check,
    library,
)
from corpusmill.models.cpu.native.weights import PackedWeight, by_output
from corpusmill.models.errors import InputError
from corpusmill.models.gpu.records import Norm

MOST_BUFFERS = 16
"""As in rows.c."""


class Program:
    """Buffers and steps in order; the buffers of the caller are declared first.

    Buffers are named by their numbers. Weights are kept alive here.
    """

    def __init__(self) -> None:
        self._buffers: list[tuple[torch.dtype, int]] = []
        self._outer = 0
        self._steps: list[Step] = []
        self._kept: list[Tensor] = []

    def outer(self, dtype: torch.dtype, width: int) -> int:
        """Add a buffer of the caller, in the order of `run`; return its number."""
        assert self._outer == len(self._buffers), "the caller's buffers come first"
        self._outer += 1
        return self.inner(dtype, width)

    def inner(self, dtype: torch.dtype, width: int) -> int:
        """Add a buffer for a block's rows only; return its number."""
        assert len(self._buffers) < MOST_BUFFERS
        self._buffers.append((dtype, width))
        return len(self._buffers) - 1

    def linear(
        self,
        weight: PackedWeight,
        source: tuple[int, int],
        target: tuple[int, int],
        *,
        activation: int = NONE,
        residual: int | None = None,
    ) -> None:
        """Add a map from a buffer's columns to a buffer's; a residual is read at the target's column."""
        step = Step(
            kind=weight.kind,
            activation=activation,
            source=source[0],
            source_column=source[1],
            target=target[0],
            target_column=target[1],
            residual=-1 if residual is None else residual,
            residual_column=target[1],
            inputs=weight.inputs,
            outputs=weight.outputs,
            weight=self._address(weight.panels),
            scale=self._address(weight.scale),
            sums=self._address(weight.sums),
            bias=self._address(weight.bias),
        )
        self._steps.append(step)

    def norm(self, norm: Norm, source: int, target: int) -> None:
        """Add a norm over whole rows of a buffer, written to another."""
        step = Step(
            kind=SCALE_AND_SHIFT if norm.eps is None else NORM,
            source=source,
            target=target,
            residual=-1,
            inputs=len(norm.weight),
            outputs=len(norm.weight),
            eps=norm.eps or 0.0,
            weight=self._address(by_output(norm.weight)),
            bias=self._address(by_output(norm.bias)),
        )
        self._steps.append(step)

    def run(self, *rows: Tensor) -> None:
        """Run all steps on the caller's buffers, tensors (rows, width) with features side by side."""
        loaded, reason = library()
        assert loaded is not None, reason
        buffers = (Buffer * len(self._buffers))()
        for buffer, (dtype, width) in zip(buffers, self._buffers, strict=True):
            buffer.type, buffer.width = NUMBERS[dtype], width
        expected, count = self._buffers[: self._outer], len(rows[0])
        for buffer, tensor, (dtype, width) in zip(buffers[: self._outer], rows, expected, strict=True):
            if tensor.dtype != dtype or tensor.shape != (count, width) or tensor.stride(1) != 1:
                raise InputError(
                    f"rows: expected {dtype} of width {width}, got {tensor.dtype} {tuple(tensor.shape)}"
                )
            buffer.base = tensor.data_ptr()
            buffer.stride = tensor.stride(0) * dtype.itemsize
        steps = (Step * len(self._steps))(*self._steps)
        check(loaded.corpusmill_run(steps, len(steps), buffers, len(buffers), count, torch.get_num_threads()))

    def _address(self, values: Tensor | None) -> int | None:
        if values is None:
            return None
        self._kept.append(values)
        return values.data_ptr()
