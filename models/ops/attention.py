"""Self-attention inside each sequence of a packed batch.

Shape suffixes: T tokens of all sequences, H heads, D head width, n sequences of a run, L their length.
"""

from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn

from corpusmill.models.packed import PackedTokens, Run

Attend = Callable[[Tensor, Tensor, Tensor, PackedTokens], Tensor]


def attend(q_THD: Tensor, k_THD: Tensor, v_THD: Tensor, packed: PackedTokens) -> Tensor:
    """Softmax attention of each token over the tokens of its own sequence, as (T, H, D)."""
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
    return attend_runs, f"attention: dense runs of equal length ({dtype} on {device_type})"


def attend_runs(q_THD: Tensor, k_THD: Tensor, v_THD: Tensor, packed: PackedTokens) -> Tensor:
    """Views each run of equal lengths as a dense batch, which needs no mask."""
    out_THD = torch.empty(q_THD.shape, dtype=q_THD.dtype, device=q_THD.device)
    for run in packed.runs:
        q_nHLD, k_nHLD, v_nHLD = (_dense(x_THD, run) for x_THD in (q_THD, k_THD, v_THD))
        _dense(out_THD, run).copy_(F.scaled_dot_product_attention(q_nHLD, k_nHLD, v_nHLD))
    return out_THD


def attend_varlen(q_THD: Tensor, k_THD: Tensor, v_THD: Tensor, packed: PackedTokens) -> Tensor:
    """One flash-attention call for all sequences (CUDA, 16-bit)."""
    cu, longest = packed.cu_seqlens, packed.max_length
    out_THD = varlen_attn(q_THD, k_THD, v_THD, cu, cu, longest, longest)
    assert isinstance(out_THD, Tensor)
    return out_THD


def attend_each(q_THD: Tensor, k_THD: Tensor, v_THD: Tensor, packed: PackedTokens) -> Tensor:
    """The plain definition, one sequence at a time: what the kernels are tested against."""
    return attend_with_probabilities(q_THD, k_THD, v_THD, packed)[0]


def attend_with_probabilities(
    q_THD: Tensor, k_THD: Tensor, v_THD: Tensor, packed: PackedTokens
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The attended values, and each sequence's (H, L, L) attention probabilities."""
    outs, probabilities = [], []
    for q, k, v in zip(packed.split(q_THD), packed.split(k_THD), packed.split(v_THD), strict=True):
        p_HLL = _probabilities(q, k)
        probabilities.append(p_HLL)
        outs.append(torch.einsum("hij,jhd->ihd", p_HLL, v))
    return torch.cat(outs), tuple(probabilities)


def _probabilities(q_LHD: Tensor, k_LHD: Tensor) -> Tensor:
    scores_HLL: Tensor = torch.einsum("ihd,jhd->hij", q_LHD, k_LHD) * q_LHD.shape[-1] ** -0.5
    return torch.softmax(scores_HLL, dim=-1)


def _dense(x_THD: Tensor, run: Run) -> Tensor:
    part = x_THD[run.start : run.start + run.count * run.length]
    return part.view(run.count, run.length, *part.shape[1:]).transpose(1, 2)
