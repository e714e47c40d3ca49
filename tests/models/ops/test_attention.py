"""Attention kernels against the plain definition."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from corpusmill.models import PackedTokens
from corpusmill.models.ops import attention
from corpusmill.models.ops.attention import attend_each, attend_products, attend_runs, attend_varlen
from corpusmill.models.ops.choose import attend, attention_kernel
from corpusmill.models.ops.grouped import has_grouped_maps

LENGTHS = [[1], [4, 4, 4], [3, 1, 3, 3, 70], [2, 2, 9, 9, 1, 1]]


def packed_of(lengths: list[int], *, masked: bool = False) -> PackedTokens:
    """Every third token masked as a key, but for each sequence's first, where asked for."""
    masks = [[int(index == 0 or index % 3 != 2) for index in range(n)] for n in lengths] if masked else None
    return PackedTokens.from_sequences([list(range(n)) for n in lengths], key_masks=masks)


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_runs_match_the_definition(lengths: list[int], fused: bool, masked: bool) -> None:
    """Also where query, key and value are strided views of one matrix."""
    joint = torch.randn(sum(lengths), 3, 4, 8, generator=torch.Generator().manual_seed(0))
    parts = joint.unbind(1) if fused else [part.contiguous() for part in joint.unbind(1)]
    packed = packed_of(lengths, masked=masked)
    torch.testing.assert_close(attend_runs(*parts, packed), attend_each(*parts, packed), rtol=0, atol=2e-6)


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("scores", [1 << 19, 200])
def test_products_match_the_definition(
    monkeypatch: pytest.MonkeyPatch, lengths: list[int], fused: bool, masked: bool, scores: int
) -> None:
    """All heads of a run at once, or a few at a time; no worse than the fused kernel in bfloat16."""
    monkeypatch.setattr(attention, "SCORES", scores)
    joint = torch.randn(sum(lengths), 3, 4, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    parts = joint.unbind(1) if fused else [part.contiguous() for part in joint.unbind(1)]
    packed = packed_of(lengths, masked=masked)
    wanted = attend_each(*(part.float() for part in parts), packed)
    torch.testing.assert_close(attend_products(*parts, packed).float(), wanted, rtol=0, atol=2e-2)


@pytest.mark.skipif(not has_grouped_maps(), reason="this torch has no oneDNN")
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("rows", [256, 2, 3])
@pytest.mark.parametrize("width", [8, 5])
def test_convolutions_match_the_definition(
    monkeypatch: pytest.MonkeyPatch, lengths: list[int], fused: bool, rows: int, width: int
) -> None:
    """In one part or in several, also where a sequence does not divide into them."""
    monkeypatch.setattr(attention, "LONG", 3)
    monkeypatch.setattr(attention, "ROWS", rows)
    joint = torch.randn(sum(lengths), 3, 4, width, generator=torch.Generator().manual_seed(0))
    parts = joint.unbind(1) if fused else [part.contiguous() for part in joint.unbind(1)]
    packed = packed_of(lengths)
    wanted = attend_each(*parts, packed)
    torch.testing.assert_close(attend_products(*parts, packed), wanted, rtol=0, atol=2e-6)


@pytest.mark.skipif(not has_grouped_maps(), reason="this torch has no oneDNN")
@pytest.mark.parametrize("length", [159, 160, 256, 257, 512])
def test_long_texts_in_float32_match_the_definition(length: int) -> None:
    """Around where products become convolutions, and a convolution two; a neighbour's NaN stays its own."""
    packed = packed_of([length, length])
    parts = [torch.randn(2 * length, 4, 64, generator=torch.Generator().manual_seed(n)) for n in range(3)]
    wanted = attend_each(*parts, packed)[:length]
    for part in parts:
        part[length:] = torch.nan
    found = attend(*parts, packed)
    torch.testing.assert_close(found[:length], wanted, rtol=0, atol=2e-6)
    assert found[length:].isnan().all()


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("masked", [False, True])
def test_the_varlen_kernel_gets_unmasked_keys_only(
    monkeypatch: pytest.MonkeyPatch, lengths: list[int], masked: bool
) -> None:
    """With where each sequence's keys then begin; the kernel itself needs a GPU."""

    def plain(q: Tensor, k: Tensor, v: Tensor, cu_q: Tensor, cu_k: Tensor, *longest: int) -> Tensor:
        assert cu_k.dtype == torch.int32
        assert max(cu_q.diff().max(), cu_k.diff().max()) <= min(longest)
        parts = [x.tensor_split(cu[1:-1].long()) for x, cu in ((q, cu_q), (k, cu_k), (v, cu_k))]
        dense = ([x.transpose(0, 1) for x in sequence] for sequence in zip(*parts, strict=True))
        return torch.cat([F.scaled_dot_product_attention(*one).transpose(0, 1) for one in dense])

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", plain)
    parts = [torch.randn(sum(lengths), 4, 8, generator=torch.Generator().manual_seed(n)) for n in range(3)]
    packed = packed_of(lengths, masked=masked)
    wanted = attend_each(*parts, packed)
    torch.testing.assert_close(attend_varlen(*parts, packed), wanted, rtol=0, atol=2e-6)


@pytest.mark.usefixtures("no_kernels_in_c")
def test_the_kernel_is_chosen_once_and_says_why() -> None:
    """Products on the CPU, where oneDNN has them for the dtype and there are no kernels in C."""
    kernel, reason = attention_kernel("cpu", torch.float32)
    assert kernel is (attend_products if has_grouped_maps() else attend_runs)
    assert reason.startswith("attention: batched products" if has_grouped_maps() else "attention: dense runs")
    kernel, reason = attention_kernel("cpu", torch.bfloat16)
    products = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    assert kernel is (attend_products if products else attend_runs)
    assert reason.startswith("attention: batched oneDNN products" if products else "attention: dense runs")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("masked", [False, True])
def test_cuda_matches_the_definition(lengths: list[int], dtype: torch.dtype, masked: bool) -> None:
    """Whichever kernel this torch has for the dtype."""
    parts = [torch.randn(sum(lengths), 4, 32, device="cuda", dtype=dtype) for _ in range(3)]
    packed = packed_of(lengths, masked=masked).to("cuda")
    wanted = attend_each(*(part.float() for part in parts), packed)
    torch.testing.assert_close(attend(*parts, packed).float(), wanted, rtol=2e-2, atol=2e-2)
