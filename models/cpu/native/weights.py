"""Weights as the kernels read them: panels of 64 outputs, and along the inputs four bytes of each in turn.

Shape suffixes: O outputs, I inputs, P outputs of a panel, G groups of inputs that make four bytes, E inputs
of one.
"""

from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corpusmill.models.cpu.int8 import QuantizedWeight
from corpusmill.models.cpu.native.bindings import LINEAR_BFLOAT16, LINEAR_FLOAT32, LINEAR_INT8

PANEL, VECTOR = 64, 16
KINDS = {torch.float32: LINEAR_FLOAT32, torch.bfloat16: LINEAR_BFLOAT16, torch.int8: LINEAR_INT8}


@dataclass(frozen=True, eq=False)
class PackedWeight:
    """One linear map: `panels`, and per output, padded with zeros, the addends and factors.

    `scale` and `sums` are those of 8-bit weights: what a step of the integers is worth, and what an offset of
    1 on all inputs adds.
    """

    kind: int
    inputs: int
    outputs: int
    panels: Tensor
    bias: Tensor | None
    scale: Tensor | None = None
    sums: Tensor | None = None

    @classmethod
    def of(cls, weight_OI: Tensor, bias_O: Tensor | None) -> Self:
        """Pack weights in their own dtype; `fits` reports whether that is possible."""
        outputs, inputs = weight_OI.shape
        bias = None if bias_O is None else by_output(bias_O)
        return cls(KINDS[weight_OI.dtype], inputs, outputs, panels_of(weight_OI), bias)

    @classmethod
    def of_bytes(cls, weight: QuantizedWeight, bias_O: Tensor | None) -> Self:
        """Pack 8-bit weights."""
        outputs, inputs = weight.values.shape
        scale_O = weight.scale.flatten()
        sums_O = weight.values.sum(1, dtype=torch.float32) * scale_O
        bias = None if bias_O is None else by_output(bias_O)
        panels = panels_of(weight.values)
        return cls(LINEAR_INT8, inputs, outputs, panels, bias, by_output(scale_O), by_output(sums_O))


def fits(linear: nn.Linear, dtype: torch.dtype) -> bool:
    """Return whether rows of this map's inputs are whole groups of four bytes."""
    return dtype in KINDS and linear.in_features % (4 // dtype.itemsize) == 0


def panels_of(weight_OI: Tensor) -> Tensor:
    """Return the weights in the kernels' order, flat; zeros fill the last panel up to whole vectors."""
    outputs, inputs = weight_OI.shape
    whole_OI = F.pad(weight_OI, (0, 0, 0, -outputs % VECTOR))
    each = 4 // weight_OI.dtype.itemsize
    panels = [whole_OI[first : first + PANEL] for first in range(0, len(whole_OI), PANEL)]
    groups = [panel_PI.view(len(panel_PI), inputs // each, each).transpose(0, 1) for panel_PI in panels]
    return torch.cat([panel_GPE.flatten() for panel_GPE in groups])


def by_output(values_O: Tensor) -> Tensor:
    """Return one float32 number per output, followed by zeros up to whole vectors."""
    return F.pad(values_O.detach().float(), (0, -len(values_O) % VECTOR)).contiguous()
