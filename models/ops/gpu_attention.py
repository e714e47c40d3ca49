"""Which kernel attends on a GPU in 16 bits: tiles of our own, or torch's variable-length flash attention.

Shape suffixes: T tokens of all sequences, H heads, D head width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from corpusmill.models.packed import PackedTokens


def attend_varlen(q_THD: Tensor, k_THD: Tensor, v_THD: Tensor, packed: PackedTokens) -> Tensor:
    """One flash-attention call for all sequences (CUDA, 16-bit); masked keys are left out of it."""
    # Not above: it imports torch's compiler, tens of megabytes that a CPU has no use for.
    from torch.nn.attention.varlen import varlen_attn

    cu, longest = packed.cu_seqlens, packed.max_length
    cu_keys = cu
    if packed.key_mask is not None:
        k_THD, v_THD = k_THD[packed.key_mask], v_THD[packed.key_mask]
        cu_keys = F.pad(packed.key_mask.cumsum(0, dtype=torch.int32), (1, 0))[cu]
    out_THD = varlen_attn(q_THD, k_THD, v_THD, cu, cu_keys, longest, longest)
    assert isinstance(out_THD, Tensor)
    return out_THD
