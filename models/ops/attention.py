"""Self-attention inside each sequence of a packed batch.

Shape suffixes: T tokens of all sequences, H heads, D head width, n sequences of a run, L their length,
B heads of all sequences of a run.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from corpusmill.models.ops.grouped import grouped_map, reordered
from corpusmill.models.ops.native_attention import attend_native
from corpusmill.models.packed import LengthRun, PackedTokens

Attend = Callable[[Tensor, Tensor, Tensor, PackedTokens], Tensor]

# Scores per thread of `attend_products`: their 1 MB and the 2 MB of probabilities stay in
# a core's cache.
SCORES = 1 << 19
# oneDNN's softmax is twice as fast and writes 16 bits, but a call of it costs 20 us.
WORTH_ONEDNN = 1 << 16
# Tokens from which float32's products are faster as convolutions, and rows of one: 256 of 512 tokens' scores
# still fit into a core's cache.
LONG, ROWS = 160, 256


def attends_in_bfloat16() -> bool:
    """Return whether this CPU multiplies bfloat16 matrices through oneDNN."""
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return bool(available and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def attend_in_c(q_THD: Tensor, k_THD: Tensor, v_THD: Tensor, packed: PackedTokens) -> Tensor:
    """Attend with the kernels in C; batches with masked keys, which these lack, use `attend_runs`."""
    if packed.key_mask is not None:
        return attend_runs(q_THD, k_THD, v_THD, packed)
    return attend_native(q_THD, k_THD, v_THD, packed)


def attend_runs(q_THD: Tensor, k_THD: Tensor, v_THD: Tensor, packed: PackedTokens) -> Tensor:
    """Attend to each run of equal lengths as a dense batch, which needs a mask only for masked keys."""
    out_THD = torch.empty(q_THD.shape, dtype=q_THD.dtype, device=q_THD.device)
    for run in packed.runs:
        q_nHLD, k_nHLD, v_nHLD = (_dense(x_THD, run) for x_THD in (q_THD, k_THD, v_THD))
        mask = None if packed.key_mask is None else _dense_mask(packed.key_mask, run)
        out_nHLD = F.scaled_dot_product_attention(q_nHLD, k_nHLD, v_nHLD, attn_mask=mask)
        _dense(out_THD, run).copy_(out_nHLD)
    return out_THD


def attend_products(q_THD: Tensor, k_THD: Tensor, v_THD: Tensor, packed: PackedTokens) -> Tensor:
    """Attend with two products per run and a float32 softmax between them.

    In bfloat16 this is two to three times faster than torch's fused CPU kernel, which uses the CPU's bfloat16
    products less well. In float32 it is as fast on one thread and a tenth faster on two. Long texts in
    float32 are convolved, which takes a third less time.
    """
    if packed.key_mask is not None:
        return attend_runs(q_THD, k_THD, v_THD, packed)
    out_THD = torch.empty(q_THD.shape, dtype=q_THD.dtype)
    for run in packed.runs:
        if q_THD.dtype is torch.float32 and run.length >= LONG:
            for start in range(run.start, run.start + run.count * run.length, run.length):
                own = slice(start, start + run.length)
                _convolve(q_THD[own], k_THD[own], v_THD[own], out_THD[own])
        else:
            _multiply(q_THD, k_THD, v_THD, out_THD, run)
    return out_THD


def _multiply(q_THD: Tensor, k_THD: Tensor, v_THD: Tensor, out_THD: Tensor, run: LengthRun) -> None:
    """Multiply over the heads of a run, few enough at a time for their scores to stay in cache."""
    q_BLD, k_BLD, v_BLD = (_dense(x_THD, run).flatten(0, 1) for x_THD in (q_THD, k_THD, v_THD))
    out_BLD = torch.empty_like(q_BLD)
    step = max(1, torch.get_num_threads() * SCORES // run.length**2)
    for part in (slice(start, start + step) for start in range(0, len(q_BLD), step)):
        p_BLL = _probabilities(q_BLD[part], k_BLD[part])
        torch.bmm(p_BLL, v_BLD[part], out=out_BLD[part])
    out_nHLD = _dense(out_THD, run)
    out_nHLD.copy_(out_BLD.view(out_nHLD.shape))


def _convolve(q_LHD: Tensor, k_LHD: Tensor, v_LHD: Tensor, out_LHD: Tensor) -> None:
    """Attend inside one sequence with two grouped linear maps whose weights are its keys and its values."""
    length, heads, width = k_LHD.shape
    keys_HLD = torch.empty(heads, length, width)
    torch.mul(k_LHD.transpose(0, 1), width**-0.5, out=keys_HLD)
    keys_OI, values_OI = keys_HLD.flatten(0, 1), v_LHD.permute(1, 2, 0).reshape(heads * width, length)
    rows = -(-length // -(-length // ROWS))
    if rows < length:  # used again for every part
        keys, values = (reordered(weight_OI, heads, rows=rows) for weight_OI in (keys_OI, values_OI))
    else:
        keys, values = keys_OI[..., None, None], values_OI[..., None, None]
    for part in (slice(start, start + rows) for start in range(0, length, rows)):
        s_LO = grouped_map(q_LHD[part].flatten(1), keys, None, heads)
        p_LHL = s_LO.view(-1, heads, length).softmax(-1)
        out_LHD[part] = grouped_map(p_LHL.flatten(1), values, None, heads).view(-1, heads, width)


def _probabilities(q_BLD: Tensor, k_BLD: Tensor) -> Tensor:
    """Return the softmax of the scores, computed in float32 by every kernel."""
    scale = q_BLD.shape[-1] ** -0.5
    s_BLL = torch.baddbmm(q_BLD.new_zeros(1), q_BLD, k_BLD.transpose(1, 2), beta=0, alpha=scale)
    if s_BLL.dtype is torch.float32 or s_BLL.numel() < WORTH_ONEDNN:
        return s_BLL.softmax(-1, dtype=torch.float32).to(q_BLD.dtype)
    return s_BLL.to_mkldnn().softmax(-1).to_dense()


def attend_varlen(q_THD: Tensor, k_THD: Tensor, v_THD: Tensor, packed: PackedTokens) -> Tensor:
    """Attend with one flash-attention call for all sequences (CUDA, 16 bits); masked keys are left out."""
    # Imported here, because it imports torch's compiler, tens of megabytes that a CPU does not need.
    from torch.nn.attention.varlen import varlen_attn

    cu, longest = packed.cu_seqlens, packed.max_length
    cu_keys = cu
    if packed.key_mask is not None:
        k_THD, v_THD = k_THD[packed.key_mask], v_THD[packed.key_mask]
        cu_keys = F.pad(packed.key_mask.cumsum(0, dtype=torch.int32), (1, 0))[cu]
    out_THD = varlen_attn(q_THD, k_THD, v_THD, cu, cu_keys, longest, longest)
    assert isinstance(out_THD, Tensor)
    return out_THD


def attend_each(q_THD: Tensor, k_THD: Tensor, v_THD: Tensor, packed: PackedTokens) -> Tensor:
    """Attend to one sequence at a time: the plain definition that the kernels are tested against."""
    return attend_with_scores(q_THD, k_THD, v_THD, packed)[0]


def attend_with_scores(
    q_THD: Tensor, k_THD: Tensor, v_THD: Tensor, packed: PackedTokens
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return the attended values, and each sequence's (H, L, L) scores before the softmax.

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


def _dense(x_THD: Tensor, run: LengthRun) -> Tensor:
    part = x_THD[run.start : run.start + run.count * run.length]
    return part.view(run.count, run.length, *part.shape[1:]).transpose(1, 2)


def _dense_mask(mask_T: Tensor, run: LengthRun) -> Tensor:
    part = mask_T[run.start : run.start + run.count * run.length]
    return part.view(run.count, 1, 1, run.length)
