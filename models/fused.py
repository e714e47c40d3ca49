"""What a GPU does in one kernel instead of several: a sum and the norm over it, a bias and the GELU after it.

The functions here say what is computed, in torch; `triton_sums.py` has the same as Triton kernels. What a
model uses is chosen once, by `kernels_for`, with the reason.
Shape suffixes: T tokens, D width.
"""

from dataclasses import dataclass
from functools import cache
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corpusmill.models.norms import ScaleAndShift


@dataclass(frozen=True, eq=False)
class Norm:
    """Factors and addends (D,) of a norm; `eps` None for one that only scales and shifts."""

    weight: Tensor
    bias: Tensor
    eps: float | None

    @classmethod
    def of(cls, module: nn.Module) -> "Norm | None":
        """The norm that a module is, or None for another module."""
        if isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1:
            return cls(module.weight.detach(), module.bias.detach(), module.eps)
        if isinstance(module, ScaleAndShift):
            return cls(module.weight.detach(), module.bias.detach(), None)
        return None


class FusedKernels(Protocol):
    """What both implementations offer."""

    def normed_sum(self, y_TD: Tensor, bias_D: Tensor, residual_TD: Tensor | None, norm: Norm) -> Tensor:
        """The norm of y + bias (+ residual), (T, D)."""

    def biased(self, y_TD: Tensor, bias_D: Tensor, *, gelu: bool) -> Tensor:
        """y + bias, or GELU of it in its tanh form; may be written over y."""


class Plain:
    """The definitions: each step a pass of its own, sums and norms in float32."""

    def normed_sum(self, y_TD: Tensor, bias_D: Tensor, residual_TD: Tensor | None, norm: Norm) -> Tensor:
        """The norm of y + bias (+ residual), (T, D)."""
        x_TD = y_TD.float() + bias_D.float()
        if residual_TD is not None:
            x_TD = x_TD + residual_TD.float()
        weight_D, shift_D = norm.weight.float(), norm.bias.float()
        if norm.eps is None:
            return torch.addcmul(shift_D, x_TD, weight_D).to(y_TD.dtype)
        return F.layer_norm(x_TD, weight_D.shape, weight_D, shift_D, norm.eps).to(y_TD.dtype)

    def biased(self, y_TD: Tensor, bias_D: Tensor, *, gelu: bool) -> Tensor:
        """y + bias, or GELU of it in its tanh form, as inside of cuBLAS's products."""
        sum_TD = y_TD.float() + bias_D.float()
        return (F.gelu(sum_TD, approximate="tanh") if gelu else sum_TD).to(y_TD.dtype)


@cache
def kernels_for(device_type: str, dtype: torch.dtype) -> tuple[FusedKernels | None, str]:
    """The kernels for a device and dtype, None where steps stay apart; and why."""
    if device_type != "cuda" or dtype not in (torch.bfloat16, torch.float16):
        return None, f"norms: torch's own ({dtype} on {device_type})"
    try:
        from corpusmill.models.triton_sums import TritonSums
    except ImportError as error:
        return None, f"norms: torch's own (no Triton: {error})"
    return checked(TritonSums(), dtype=dtype, device=torch.device(device_type))


def checked(
    kernels: FusedKernels, *, dtype: torch.dtype, device: torch.device
) -> tuple[FusedKernels | None, str]:
    """The kernels, if they run here and agree with the definitions; else None, and what is wrong."""
    generator = torch.Generator().manual_seed(0)
    y_TD, residual_TD = (torch.randn(5, 96, generator=generator).to(device, dtype) for _ in range(2))
    bias_D, weight_D, shift_D = (torch.randn(96, generator=generator).to(device, dtype) for _ in range(3))
    try:
        for norm in (Norm(weight_D, shift_D, 1e-12), Norm(weight_D, shift_D, None)):
            for residual in (residual_TD, None):
                wanted = Plain().normed_sum(y_TD, bias_D, residual, norm)
                found = kernels.normed_sum(y_TD, bias_D, residual, norm)
                torch.testing.assert_close(found, wanted, rtol=2e-2, atol=2e-2)
        for gelu in (True, False):
            wanted = Plain().biased(y_TD, bias_D, gelu=gelu)
            found = kernels.biased(y_TD.clone(), bias_D, gelu=gelu)
            torch.testing.assert_close(found, wanted, rtol=2e-2, atol=2e-2)
    except Exception as error:
        return (
            None,
            f"norms: torch's own (the Triton kernels failed: {type(error).__name__}: {_first(error)})",
        )
    return kernels, f"norms: sums and norms as one Triton kernel ({dtype} on {device.type})"


def _first(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0]
