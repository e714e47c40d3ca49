"""Attention kernels against the plain definition."""

import pytest
import torch

from corpusmill.models import PackedTokens
from corpusmill.models.ops.attention import attend, attend_each, attend_runs, attention_kernel

LENGTHS = [[1], [4, 4, 4], [3, 1, 3, 3, 70], [2, 2, 9, 9, 1, 1]]


def packed_of(lengths: list[int]) -> PackedTokens:
    return PackedTokens.from_sequences([list(range(n)) for n in lengths])


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("fused", [False, True])
def test_runs_match_the_definition(lengths: list[int], fused: bool) -> None:
    """Also where query, key and value are strided views of one matrix."""
    joint = torch.randn(sum(lengths), 3, 4, 8, generator=torch.Generator().manual_seed(0))
    parts = joint.unbind(1) if fused else [part.contiguous() for part in joint.unbind(1)]
    packed = packed_of(lengths)
    torch.testing.assert_close(attend_runs(*parts, packed), attend_each(*parts, packed), rtol=0, atol=2e-6)


def test_the_kernel_is_chosen_once_and_says_why() -> None:
    """float32 on the CPU takes the dense runs."""
    kernel, reason = attention_kernel("cpu", torch.float32)
    assert kernel is attend_runs
    assert reason.startswith("attention: dense runs")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("lengths", LENGTHS)
def test_cuda_matches_the_definition(lengths: list[int], dtype: torch.dtype) -> None:
    """Whichever kernel this torch has for the dtype."""
    parts = [torch.randn(sum(lengths), 4, 32, device="cuda", dtype=dtype) for _ in range(3)]
    packed = packed_of(lengths).to("cuda")
    wanted = attend_each(*(part.float() for part in parts), packed)
    torch.testing.assert_close(attend(*parts, packed).float(), wanted, rtol=2e-2, atol=2e-2)
