"""Self-attention inside each sequence of a packed batch.

Shape suffixes: T tokens of all sequences, H heads, D head width, n sequences of a run, L their length,
B heads of all sequences of a run.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn

from corpusmill.models.packed import PackedTokens, Run

Attend = Callable[[Tensor, Tensor, Tensor, PackedTokens], Tensor]

# Scores that a thread of `attend_products` keeps at once: 1 MB of them and 2 MB of probabilities stay in a
# core's cache.
SCORES = 1 << 19
# oneDNN's softmax is twice as fast and writes 16 bits itself, but getting there and back takes 20 us.
WORTH_ONEDNN = 1 << 16


def attend(q_THD: Tensor, k_THD: Tensor, v_THD: Tensor, packed: PackedTokens) -> Tensor:
    """Softmax attention of each token over the unmasked tokens of its own sequence, as (T, H, D)."""
    kernel, _ = attention_kernel(q_THD.device.type, q_THD.dtype)
    return kernel(q_THD, k_THD, v_THD, packed)


@cache
def attention_kernel(device_type: str, dtype: torch.dtype) -> tuple[Attend, str]:
    """The kernel for a device and dtype, and why it is that one."""
    if device_type == "cuda" and dtype in (torch.bfloat16, torch.float16):
        if (
            torch.cuda.get_device_capability() >= (8, 0)
            and torch.backends.cuda.is_flash_attention_available()
        ):
            return attend_varlen, f"attention: variable-length flash kernel ({dtype} on CUDA)"
        return attend_runs, "attention: dense runs of equal length (no flash attention on this GPU)"
    if device_type == "cpu" and dtype is torch.bfloat16 and attends_in_bfloat16():
        return attend_products, f"attention: batched oneDNN products ({dtype} on CPU)"
    return attend_runs, f"attention: dense runs of equal length ({dtype} on {device_type})"


def attends_in_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 matrices through oneDNN."""
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return bool(available and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def attend_runs(q_THD: Tensor, k_THD: Tensor, v_THD: Tensor, packed: PackedTokens) -> Tensor:
    """Views each run of equal lengths as a dense batch, which needs no mask unless keys are masked."""
    out_THD = torch.empty(q_THD.shape, dtype=q_THD.dtype, device=q_THD.device)
    for run in packed.runs:
        q_nHLD, k_nHLD, v_nHLD = (_dense(x_THD, run) for x_THD in (q_THD, k_THD, v_THD))
        mask = None if packed.key_mask is None else _dense_mask(packed.key_mask, run)
        out_nHLD = F.scaled_dot_product_attention(q_nHLD, k_nHLD, v_nHLD, attn_mask=mask)
        _dense(out_THD, run).copy_(out_nHLD)
    return out_THD


def attend_products(q_THD: Tensor, k_THD: Tensor, v_THD: Tensor, packed: PackedTokens) -> Tensor:
    """Two batched products a run, and a float32 softmax between them.

    In bfloat16 two to three times faster than torch's fused CPU kernel, which does not use the CPU's bfloat16
    products as well.
    """
    if packed.key_mask is not None:
        return attend_runs(q_THD, k_THD, v_THD, packed)
    out_THD = torch.empty(q_THD.shape, dtype=q_THD.dtype)
    for run in packed.runs:
        q_BLD, k_BLD, v_BLD = (_dense(x_THD, run).flatten(0, 1) for x_THD in (q_THD, k_THD, v_THD))
        out_BLD = torch.empty_like(q_BLD)
        step = max(1, torch.get_num_threads() * SCORES // run.length**2)
        for part in (slice(start, start + step) for start in range(0, len(q_BLD), step)):
            p_BLL = _probabilities(q_BLD[part], k_BLD[part])
            torch.bmm(p_BLL, v_BLD[part], out=out_BLD[part])
        out_nHLD = _dense(out_THD, run)
        out_nHLD.copy_(out_BLD.view(out_nHLD.shape))
    return out_THD


def _probabilities(q_BLD: Tensor, k_BLD: Tensor) -> Tensor:
    """The softmax of the scores, computed in float32 whichever kernel runs it."""
    scale = q_BLD.shape[-1] ** -0.5
    s_BLL = torch.baddbmm(q_BLD.new_zeros(1), q_BLD, k_BLD.transpose(1, 2), beta=0, alpha=scale)
    if s_BLL.numel() < WORTH_ONEDNN:
        return s_BLL.softmax(-1, dtype=torch.float32).to(q_BLD.dtype)
    return s_BLL.to_mkldnn().softmax(-1).to_dense()


def attend_varlen(q_THD: Tensor, k_THD: Tensor, v_THD: Tensor, packed: PackedTokens) -> Tensor:
    """One flash-attention call for all sequences (CUDA, 16-bit); masked keys are left out of it."""
    cu, longest = packed.cu_seqlens, packed.max_length
    cu_keys = cu
    if packed.key_mask is not None:
        k_THD, v_THD = k_THD[packed.key_mask], v_THD[packed.key_mask]
        cu_keys = F.pad(packed.key_mask.cumsum(0, dtype=torch.int32), (1, 0))[cu]
    out_THD = varlen_attn(q_THD, k_THD, v_THD, cu, cu_keys, longest, longest)
    assert isinstance(out_THD, Tensor)
    return out_THD


def takes_empty_sequences(dtype: torch.dtype, device: torch.device) -> str | None:
    """What is wrong with a batch that has sequences of no tokens, for this device's kernel; None if nothing.

    Found by trying: batches that are padded to a fixed number of sequences have empty ones, and whether the
    varlen kernel takes them is not documented.
    """
    packed = PackedTokens.from_sequences([[0] * length for length in (3, 70, 1)]).to(device)
    ends_N = packed.cu_seqlens[[0, 1, 1, 2, 3, 3, 3]]
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(74, 2, 32, generator=generator).to(device, dtype) for _ in range(3))
    wanted_THD = attend_each(q.float(), k.float(), v.float(), packed)
    try:
        found_THD = attend(q, k, v, replace(packed, cu_seqlens=ends_N, max_length=128))
        torch.testing.assert_close(found_THD.float(), wanted_THD, rtol=2e-2, atol=2e-2)
    except Exception as error:
        return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
    return None


def attend_each(q_THD: Tensor, k_THD: Tensor, v_THD: Tensor, packed: PackedTokens) -> Tensor:
    """The plain definition, one sequence at a time: what the kernels are tested against."""
    return attend_with_scores(q_THD, k_THD, v_THD, packed)[0]


def attend_with_scores(
    q_THD: Tensor, k_THD: Tensor, v_THD: Tensor, packed: PackedTokens
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The attended values, and each sequence's (H, L, L) scores before the softmax.

    Scores of masked keys are the dtype's lowest number, as in transformers.
    """
    outs, scores = [], []
    masks = _masks(packed)
    for q, k, v, mask in zip(*map(packed.split, (q_THD, k_THD, v_THD)), masks, strict=True):
        s_HLL: Tensor = torch.einsum("ihd,jhd->hij", q, k) * q.shape[-1] ** -0.5
        if mask is not None:
            s_HLL = s_HLL.masked_fill(~mask, torch.finfo(s_HLL.dtype).min)
        scores.append(s_HLL)
        outs.append(torch.einsum("hij,jhd->ihd", torch.softmax(s_HLL, dim=-1), v))
    return torch.cat(outs), tuple(scores)


def _masks(packed: PackedTokens) -> tuple[Tensor | None, ...]:
    return (None,) * len(packed) if packed.key_mask is None else packed.split(packed.key_mask)


def _dense(x_THD: Tensor, run: Run) -> Tensor:
    part = x_THD[run.start : run.start + run.count * run.length]
    return part.view(run.count, run.length, *part.shape[1:]).transpose(1, 2)


def _dense_mask(mask_T: Tensor, run: Run) -> Tensor:
    part = mask_T[run.start : run.start + run.count * run.length]
    return part.view(run.count, 1, 1, run.length)
