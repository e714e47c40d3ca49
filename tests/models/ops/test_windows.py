"""Neighbour windows over packed tokens against the definition on one sequence."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from corpusmill.models import PackedTokens
from corpusmill.models.ops.choose import depthwise_convolution, dynamic_convolution
from corpusmill.models.ops.windows import convolve_each, neighbours

LENGTHS = [3, 1, 40, 1, 2, 9]


def packed_of(lengths: list[int]) -> PackedTokens:
    return PackedTokens.from_sequences([list(range(n)) for n in lengths])


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("reach", [1, 2, 5])
def test_neighbours_are_zeros_outside_the_sequence(reach: int) -> None:
    """From the farthest before to the farthest after; the middle one is the token itself."""
    packed, x_TD = packed_of(LENGTHS), random(sum(LENGTHS), 4)
    found = neighbours(x_TD, packed, reach=reach)
    assert torch.equal(found[reach], x_TD)
    for offset, y_TD in zip(range(-reach, reach + 1), found, strict=True):
        for x_LD, y_LD in zip(packed.split(x_TD), packed.split(y_TD), strict=True):
            padded = F.pad(x_LD, (0, 0, reach, reach))
            assert torch.equal(y_LD, padded[reach + offset : reach + offset + len(x_LD)])


@pytest.mark.parametrize("size", [1, 3, 9])
def test_convolutions_match_the_definition(size: int) -> None:
    """Also where the window is longer than the sequence."""
    packed, x_THd = packed_of(LENGTHS), random(sum(LENGTHS), 3, 5)
    kernel_THK = random(sum(LENGTHS), 3, size, seed=1)
    wanted = convolve_each(x_THd, kernel_THK, packed)
    torch.testing.assert_close(dynamic_convolution(x_THd, kernel_THK, packed), wanted, rtol=0, atol=1e-5)
    weight_KD = random(size, 15, seed=2)
    each_T15K = weight_KD.T.expand(sum(LENGTHS), -1, -1)
    wanted = convolve_each(x_THd.reshape(-1, 15, 1), each_T15K, packed).flatten(1)
    torch.testing.assert_close(
        depthwise_convolution(x_THd.flatten(1), weight_KD, packed), wanted, rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 1e30])
def test_windows_are_bit_for_bit_independent_of_neighbours(poison: float) -> None:
    """Whatever lies before and after a sequence, its windows have the same bits as alone."""
    packed, alone = packed_of([2, 6, 3]), packed_of([6])
    x_TD, kernel_THK, weight_KD = random(11, 4), random(11, 2, 5, seed=1), random(5, 4, seed=2)
    x_TD[:2] = x_TD[8:] = kernel_THK[:2] = kernel_THK[8:] = poison
    own, own_kernel = x_TD[2:8], kernel_THK[2:8]
    for mine, wanted in zip(neighbours(x_TD, packed, reach=2), neighbours(own, alone, reach=2), strict=True):
        assert torch.equal(mine[2:8], wanted)
    convolved = depthwise_convolution(x_TD, weight_KD, packed)[2:8]
    assert torch.equal(convolved, depthwise_convolution(own, weight_KD, alone))
    dynamic = dynamic_convolution(x_TD.view(11, 2, 2), kernel_THK, packed)[2:8]
    assert torch.equal(dynamic, dynamic_convolution(own.view(6, 2, 2), own_kernel, alone))
