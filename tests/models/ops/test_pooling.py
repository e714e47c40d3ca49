"""Pooling over packed tokens against the definition on one sequence."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from corpusmill.models import PackedTokens
from corpusmill.models.ops.pooling import POOLINGS

DEFINITIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "cls": lambda x_LD: x_LD[0],
    "max": lambda x_LD: x_LD.amax(0),
    "mean": lambda x_LD: x_LD.mean(0),
    "mean_sqrt_len": lambda x_LD: x_LD.sum(0) / len(x_LD) ** 0.5,
    "weightedmean": lambda x_LD: (
        torch.stack([x * (i + 1) for i, x in enumerate(x_LD)]).sum(0) / sum(range(1, len(x_LD) + 1))
    ),
    "lasttoken": lambda x_LD: x_LD[-1],
}
LENGTHS = [3, 1, 50, 3, 3, 512]


@pytest.mark.parametrize("name", POOLINGS)
def test_each_sequence_is_pooled_by_definition(name: str) -> None:
    """Every mode of the table has its definition here."""
    packed = PackedTokens.from_sequences([[1] * n for n in LENGTHS])
    x_TD = torch.randn(sum(LENGTHS), 6, generator=torch.Generator().manual_seed(1))
    wanted = torch.stack([DEFINITIONS[name](part) for part in packed.split(x_TD)])
    torch.testing.assert_close(POOLINGS[name](x_TD, packed), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", POOLINGS)
def test_pooling_is_bit_for_bit_independent_of_neighbours(name: str) -> None:
    """A sequence pooled between NaN and huge neighbours has the very same bits as alone."""
    x_LD = torch.randn(37, 5, generator=torch.Generator().manual_seed(2))
    alone = POOLINGS[name](x_LD, PackedTokens.from_sequences([[1] * 37]))
    packed = PackedTokens.from_sequences([[1] * 4, [1] * 37, [1] * 9])
    crowded = torch.cat([torch.full((4, 5), float("nan")), x_LD, torch.full((9, 5), 1e30)])
    assert torch.equal(POOLINGS[name](crowded, packed)[1], alone[0])
