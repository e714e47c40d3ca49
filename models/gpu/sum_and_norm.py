"""Steps that are one kernel on a GPU: a sum and its norm, a bias and its GELU.

The functions here are the definitions in torch; `sum_and_norm_kernels.py` and `embedding_kernels.py` are the
Triton kernels. `choose_sum_and_norm` in `layout.py` chooses between them once per device and dtype.
Shape suffixes: T tokens, D width, E word-vector width, I ids.
"""

from collections.abc import Iterator
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from corpusmill.models.errors import in_a_line
from corpusmill.models.gpu.records import Norm, Rows


class SumAndNormKernels(Protocol):
    """The functions of both implementations."""

    def normed_sum(self, y_TD: Tensor, bias_D: Tensor, residual_TD: Tensor | None, norm: Norm) -> Tensor:
        """Return the norm of y + bias (+ residual), (T, D)."""

    def biased(self, y_TD: Tensor, bias_D: Tensor, *, gelu: bool) -> Tensor:
        """Return y + bias, or GELU of it in its tanh form; may overwrite y."""

    def embedded(self, words: Rows, places: Rows, kinds: Rows | None, norm: Norm) -> Tensor:
        """Return the norm of each token's word, position and type vectors added up, (T, D)."""

    def trigrams(self, words: Rows, bounds: tuple[Tensor, Tensor]) -> Tensor:
        """Return each token's next, own and previous word, (T, 3E); zeros beyond its sequence."""


class PlainSumAndNorm:
    """The definitions: one pass per step, sums and norms in float32."""

    def normed_sum(self, y_TD: Tensor, bias_D: Tensor, residual_TD: Tensor | None, norm: Norm) -> Tensor:
        """Return the norm of y + bias (+ residual), (T, D)."""
        x_TD = y_TD.float() + bias_D.float()
        if residual_TD is not None:
            x_TD = x_TD + residual_TD.float()
        return norm.over(x_TD).to(y_TD.dtype)

    def biased(self, y_TD: Tensor, bias_D: Tensor, *, gelu: bool) -> Tensor:
        """Return y + bias, or GELU of it in its tanh form, as inside cuBLAS's products."""
        sum_TD = y_TD.float() + bias_D.float()
        return (F.gelu(sum_TD, approximate="tanh") if gelu else sum_TD).to(y_TD.dtype)

    def embedded(self, words: Rows, places: Rows, kinds: Rows | None, norm: Norm) -> Tensor:
        """Return the norm of each token's word, position and type vectors added up, (T, D)."""
        x_TD = words.looked_up() + places.looked_up()
        if kinds is not None:
            x_TD = x_TD + kinds.looked_up()
        return norm.over(x_TD).to(words.table.dtype)

    def trigrams(self, words: Rows, bounds: tuple[Tensor, Tensor]) -> Tensor:
        """Return each token's next, own and previous word, (T, 3E); zeros beyond its sequence."""
        x_TE = words.looked_up()
        tokens_T = torch.arange(len(x_TE), device=x_TE.device)
        parts = []
        for offset in (1, 0, -1):
            others_T = tokens_T + offset
            seen_T = (others_T >= bounds[0]) & (others_T < bounds[1])
            parts.append(torch.where(seen_T[:, None], x_TE[others_T.clamp(0, len(x_TE) - 1)], 0.0))
        return torch.cat(parts, dim=-1).to(words.table.dtype)


def checked_sum_and_norm(
    kernels: SumAndNormKernels, *, dtype: torch.dtype, device: torch.device
) -> tuple[SumAndNormKernels | None, str]:
    """Return the kernels if they agree with the definitions here, else None, and the reason."""
    try:
        for found, wanted in zip(
            *(_trial(each, dtype, device) for each in (kernels, PlainSumAndNorm())), strict=True
        ):
            torch.testing.assert_close(found, wanted, rtol=2e-2, atol=2e-2)
    except Exception as error:
        return None, f"norms: torch's own (the Triton kernels failed: {in_a_line(error)})"
    return kernels, f"norms: sums and norms as one Triton kernel ({dtype} on {device.type})"


def _trial(kernels: SumAndNormKernels, dtype: torch.dtype, device: torch.device) -> Iterator[Tensor]:
    """Yield the result of each kernel on a few random rows."""
    generator = torch.Generator().manual_seed(0)
    y_TD, residual_TD = (torch.randn(5, 96, generator=generator).to(device, dtype) for _ in range(2))
    bias_D, weight_D, shift_D = (torch.randn(96, generator=generator).to(device, dtype) for _ in range(3))
    table, ids = Rows(y_TD, torch.tensor([4, 0, 2], device=device)), torch.tensor([1, 0, 1], device=device)
    bounds = [torch.tensor(each, dtype=torch.int32, device=device) for each in ([0, 0, 2], [2, 2, 3])]
    for norm in (Norm(weight_D, shift_D, 1e-12), Norm(weight_D, shift_D, None)):
        yield kernels.normed_sum(y_TD, bias_D, residual_TD, norm)
        yield kernels.normed_sum(y_TD, bias_D, None, norm)
        yield kernels.embedded(table, Rows(residual_TD, ids), Rows(residual_TD, ids + 1), norm)
        yield kernels.embedded(Rows(y_TD[:3]), Rows(residual_TD, ids), None, norm)
    yield kernels.trigrams(table, (bounds[0], bounds[1]))
    for gelu in (True, False):
        yield kernels.biased(y_TD.clone(), bias_D, gelu=gelu)
