"""Attention of a packed batch by the kernels in C: each sequence's heads separately, without copies."""

import ctypes

import torch
from torch import Tensor

from corpusmill.models.cpu.native.bindings import NUMBERS, AttentionCall, check, library
from corpusmill.models.packed import PackedTokens


def attend_native(q_THD: Tensor, k_THD: Tensor, v_THD: Tensor, packed: PackedTokens) -> Tensor:
    """Return softmax attention of each token over its own sequence, (T, H, D); no key is masked."""
    loaded, reason = library()
    assert loaded is not None, reason
    _, heads, width = q_THD.shape
    q_THD, k_THD, v_THD = map(_side_by_side, (q_THD, k_THD, v_THD))
    out_THD = torch.empty(q_THD.shape, dtype=q_THD.dtype)
    places: dict[str, int] = {}
    for name, x_THD in zip(("q", "k", "v", "out"), (q_THD, k_THD, v_THD, out_THD), strict=True):
        by_token, by_head, _ = x_THD.stride()
        places |= {
            name: x_THD.data_ptr(),
            f"{name}_stride": by_token * x_THD.itemsize,
            f"{name}_head": by_head * x_THD.itemsize,
        }
    call = AttentionCall(
        **places,
        starts=packed.cu_seqlens.data_ptr(),
        sequences=len(packed),
        heads=heads,
        width=width,
        type=NUMBERS[q_THD.dtype],
        threads=torch.get_num_threads(),
    )
    check(loaded.corpusmill_attend(ctypes.byref(call)))
    return out_THD


def _side_by_side(x_THD: Tensor) -> Tensor:
    """Return the tensor, or a copy, with the numbers of a head side by side."""
    return x_THD if x_THD.stride(2) == 1 else x_THD.contiguous()
