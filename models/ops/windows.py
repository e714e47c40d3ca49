"""Windows over neighbouring tokens, with zeros outside a token's own sequence.

Between sequences are as many rows of zeros as a window reaches. A window that stays in
that layout is then a shifted slice of it, and none can reach a neighbouring sequence.
Shape suffixes: T tokens of all sequences, P rows of the layout, D width, H heads, d head width, K window.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from corpusmill.models.packed import PackedTokens

Convolve = Callable[[Tensor, Tensor, PackedTokens], Tensor]


@dataclass(frozen=True)
class Convolutions:
    """The implementations that a device uses."""

    depthwise: Convolve
    dynamic: Convolve


@dataclass(frozen=True, eq=False)
class _SpacedLayout:
    """The place of each token in a layout of `rows` rows; windows reach this far on either side."""

    places: Tensor
    rows: int
    reach: int

    def spread(self, x: Tensor) -> Tensor:
        """Return the tokens' values with zeros between sequences, before the first and after the last."""
        return x.new_zeros(self.rows, *x.shape[1:]).index_copy_(0, self.places, x)

    def shifted(self, x: Tensor, offset: int) -> Tensor:
        """Return a view of laid-out values: for each row but the margins, the row at this offset."""
        return x[self.reach + offset : self.rows - self.reach + offset]

    def gather(self, x: Tensor) -> Tensor:
        """Return the tokens' values back from a sum of shifted views."""
        return x.index_select(0, self.places - self.reach)


def neighbours(x_TD: Tensor, packed: PackedTokens, *, reach: int) -> tuple[Tensor, ...]:
    """Return, for each offset from -reach to reach, the vector that far from each token, (T, D)."""
    apart = _spaced_layout(packed, reach)
    x_PD = apart.spread(x_TD)
    return tuple(apart.gather(apart.shifted(x_PD, offset)) for offset in range(-reach, reach + 1))


def depthwise_laid_apart(x_TD: Tensor, weight_KD: Tensor, packed: PackedTokens) -> Tensor:
    """Convolve each feature in one grouped convolution over all sequences, laid apart."""
    apart = _spaced_layout(packed, len(weight_KD) // 2)
    # An image of one row with features last, which is the layout in memory.
    x_1D1P = apart.spread(x_TD)[None, None].permute(0, 3, 1, 2)
    y_1D1P = F.conv2d(x_1D1P, weight_KD.T[:, None, None], groups=weight_KD.shape[1])
    return apart.gather(y_1D1P.permute(0, 2, 3, 1).flatten(0, 2))


def dynamic_laid_apart(x_THd: Tensor, kernel_THK: Tensor, packed: PackedTokens) -> Tensor:
    """Convolve with each token's own weights, as a sum of shifted products over sequences laid apart."""
    size = kernel_THK.shape[-1]
    reach = size // 2
    apart = _spaced_layout(packed, reach)
    x_PHd, kernel_PHK = apart.spread(x_THd), apart.shifted(apart.spread(kernel_THK), 0)
    y_PHd = apart.shifted(x_PHd, -reach) * kernel_PHK[..., :1]
    for index in range(1, size):
        y_PHd.addcmul_(apart.shifted(x_PHd, index - reach), kernel_PHK[..., index : index + 1])
    return apart.gather(y_PHd)


def convolve_each(x_THd: Tensor, kernel_THK: Tensor, packed: PackedTokens) -> Tensor:
    """Convolve one sequence at a time: the plain definition that the convolutions are tested against."""
    outs = []
    for x_LHd, kernel_LHK in zip(packed.split(x_THd), packed.split(kernel_THK), strict=True):
        reach = kernel_LHK.shape[-1] // 2
        windows_LHdK = F.pad(x_LHd, (0, 0, 0, 0, reach, reach)).unfold(0, 2 * reach + 1, 1)
        outs.append(torch.einsum("lhdk,lhk->lhd", windows_LHdK, kernel_LHK))
    return torch.cat(outs)


def _spaced_layout(packed: PackedTokens, reach: int) -> _SpacedLayout:
    starts_N, counts_N = packed.cu_seqlens[:-1], packed.cu_seqlens.diff()
    tokens, sequences = len(packed.input_ids), len(starts_N)
    numbers_T = torch.repeat_interleave(
        torch.arange(sequences, device=starts_N.device), counts_N, output_size=tokens
    )
    places_T = torch.arange(tokens, device=starts_N.device) + reach * (numbers_T + 1)
    return _SpacedLayout(places_T, rows=tokens + reach * (sequences + 1), reach=reach)
