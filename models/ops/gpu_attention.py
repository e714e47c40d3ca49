"""Which kernel attends on a GPU in 16 bits: tiles of our own, or torch's variable-length flash attention.

Shape suffixes: T tokens of all sequences, H heads, D head width.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from corpusmill.models.errors import in_a_line
from corpusmill.models.ops.attention import Attend, attend, attend_each
from corpusmill.models.packed import PackedTokens

FLASH = "variable-length flash kernel"


def sixteen_bit_kernel(dtype: torch.dtype) -> tuple[Attend | None, str]:
    """The kernel for the current GPU, None where attention has to take runs of equal length; and why."""
    if torch.cuda.get_device_capability() < (8, 0) or not torch.backends.cuda.is_flash_attention_available():
        return None, "attention: dense runs of equal length (no flash attention on this GPU)"
    try:
        from corpusmill.models.ops.attention_kernels import attend_tiles
    except ImportError as error:
        return attend_varlen, f"attention: {FLASH} ({dtype} on CUDA; no Triton: {error})"
    wrong = disagreement(attend_tiles, dtype=dtype, device=torch.device("cuda"))
    if wrong is not None:
        return attend_varlen, f"attention: {FLASH} ({dtype} on CUDA; the Triton kernel failed: {wrong})"
    return attend_tiles, f"attention: Triton kernel over tiles of each sequence ({dtype} on CUDA)"


def disagreement(kernel: Attend, *, dtype: torch.dtype, device: torch.device) -> str | None:
    """What is wrong with a kernel on a device, found on small batches; None if nothing is."""
    generator = torch.Generator().manual_seed(0)
    for lengths in ((3, 20, 1), (70, 1, 128), (300, 5)):
        packed = PackedTokens.from_sequences([[0] * length for length in lengths]).to(device)
        for width in (32, 64):
            shape = (sum(lengths), 2, width)
            q, k, v = (torch.randn(shape, generator=generator).to(device, dtype) for _ in range(3))
            try:
                wanted_THD = attend_each(q.float(), k.float(), v.float(), packed)
                torch.testing.assert_close(kernel(q, k, v, packed).float(), wanted_THD, rtol=2e-2, atol=2e-2)
            except Exception as error:
                return in_a_line(error)
    return None


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


def takes_empty_sequences(dtype: torch.dtype, device: torch.device) -> str | None:
    """What is wrong with a batch that has sequences of no tokens, for this device's kernel; None if nothing.

    Found by trying, with heads that tiles take and heads that they do not: batches that are padded to a fixed
    number of sequences have empty ones, and whether flash attention takes them is not documented.
    """
    packed = PackedTokens.from_sequences([[0] * length for length in (3, 70, 1)]).to(device)
    ends_N = packed.cu_seqlens[[0, 1, 1, 2, 3, 3, 3]]
    generator = torch.Generator().manual_seed(0)
    for width in (32, 24):
        q, k, v = (torch.randn(74, 2, width, generator=generator).to(device, dtype) for _ in range(3))
        wanted_THD = attend_each(q.float(), k.float(), v.float(), packed)
        try:
            found_THD = attend(q, k, v, replace(packed, cu_seqlens=ends_N, max_length=128))
            torch.testing.assert_close(found_THD.float(), wanted_THD, rtol=2e-2, atol=2e-2)
        except Exception as error:
            return in_a_line(error)
    return None
