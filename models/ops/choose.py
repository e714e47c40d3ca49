"""The one place where the kernels that look across token positions are chosen, with the reason.

Attention depends on device and dtype, convolutions over windows on the device. Pooling has one
implementation. The kernels of layers are chosen in `cpu/layout.py` and `gpu/layout.py`.
Shape suffixes: T tokens of all sequences, H heads, D width (of a head in attention), d head width, K window.
"""

from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from corpusmill.models.cpu.native.bindings import NUMBERS, library
from corpusmill.models.errors import in_a_line
from corpusmill.models.ops.attention import (
    Attend,
    attend_each,
    attend_in_c,
    attend_products,
    attend_runs,
    attend_varlen,
    attends_in_bfloat16,
)
from corpusmill.models.ops.grouped import has_grouped_maps
from corpusmill.models.ops.windows import Convolutions, depthwise_laid_apart, dynamic_laid_apart
from corpusmill.models.packed import PackedTokens

FLASH = "variable-length flash kernel"


def attend(q_THD: Tensor, k_THD: Tensor, v_THD: Tensor, packed: PackedTokens) -> Tensor:
    """Return softmax attention of each token over the unmasked tokens of its own sequence, (T, H, D)."""
    kernel, _ = attention_kernel(q_THD.device.type, q_THD.dtype)
    return kernel(q_THD, k_THD, v_THD, packed)


@cache
def attention_kernel(device_type: str, dtype: torch.dtype) -> tuple[Attend, str]:
    """Return the kernel for a device and dtype, and the reason."""
    if device_type == "cuda" and dtype in (torch.bfloat16, torch.float16):
        kernel, reason = sixteen_bit_kernel(dtype)
        return kernel or attend_runs, reason
    if device_type == "cpu" and dtype in NUMBERS and library()[0] is not None:
        return attend_in_c, f"attention: {library()[1]}, each sequence by itself ({dtype} on CPU)"
    if device_type == "cpu" and dtype is torch.bfloat16 and attends_in_bfloat16():
        return attend_products, f"attention: batched oneDNN products ({dtype} on CPU)"
    if device_type == "cpu" and dtype is torch.float32 and has_grouped_maps():
        return attend_products, f"attention: batched products, convolutions of long texts ({dtype} on CPU)"
    return attend_runs, f"attention: dense runs of equal length ({dtype} on {device_type})"


def sixteen_bit_kernel(dtype: torch.dtype) -> tuple[Attend | None, str]:
    """Return the kernel for the current GPU, or None if only `attend_runs` works, and the reason."""
    if torch.cuda.get_device_capability() < (8, 0) or not torch.backends.cuda.is_flash_attention_available():
        return None, "attention: dense runs of equal length (no flash attention on this GPU)"
    try:
        from corpusmill.models.gpu.attention_kernels import attend_tiles
    except ImportError as error:
        return attend_varlen, f"attention: {FLASH} ({dtype} on CUDA; no Triton: {error})"
    wrong = attention_disagreement(attend_tiles, dtype=dtype, device=torch.device("cuda"))
    if wrong is not None:
        return attend_varlen, f"attention: {FLASH} ({dtype} on CUDA; the Triton kernel failed: {wrong})"
    return attend_tiles, f"attention: Triton kernel over tiles of each sequence ({dtype} on CUDA)"


def attention_disagreement(kernel: Attend, *, dtype: torch.dtype, device: torch.device) -> str | None:
    """Return what is wrong with a kernel on a device, found on small batches; None if nothing is."""
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


def takes_empty_sequences(dtype: torch.dtype, device: torch.device) -> str | None:
    """Return what is wrong with empty sequences in this device's kernel; None if nothing is.

    Batches that are padded to a fixed number of sequences have empty ones. Whether flash attention accepts
    them is not documented, so this function tries: with heads for tiles, and with heads for flash attention.
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


def depthwise_convolution(x_TD: Tensor, weight_KD: Tensor, packed: PackedTokens) -> Tensor:
    """Return each feature's window, weighted by K weights of its own; K is odd."""
    return window_kernels(x_TD.device.type)[0].depthwise(x_TD, weight_KD, packed)


def dynamic_convolution(x_THd: Tensor, kernel_THK: Tensor, packed: PackedTokens) -> Tensor:
    """Return each token's window, weighted head by head with K weights of the token's own; K is odd."""
    return window_kernels(x_THd.device.type)[0].dynamic(x_THd, kernel_THK, packed)


@cache
def window_kernels(device_type: str) -> tuple[Convolutions, str]:
    """Return the convolutions for a device, and the reason."""
    apart = Convolutions(depthwise_laid_apart, dynamic_laid_apart)
    if device_type != "cuda":
        return apart, f"windows: laid apart (on {device_type})"
    try:
        from corpusmill.models.gpu.window_kernels import depthwise_convolution as depthwise
        from corpusmill.models.gpu.window_kernels import dynamic_convolution as dynamic
    except ImportError as error:
        return apart, f"windows: laid apart (no Triton: {error})"
    kernels = Convolutions(depthwise, dynamic)
    wrong = window_disagreement(kernels, torch.device(device_type))
    if wrong is not None:
        return apart, f"windows: laid apart (the Triton kernels failed: {wrong})"
    return kernels, "windows: Triton kernels over packed windows (on cuda)"


def window_disagreement(kernels: Convolutions, device: torch.device) -> str | None:
    """Return what is wrong with convolutions on a device, found on a small batch; None if nothing is."""
    packed = PackedTokens.from_sequences([[0] * length for length in (1, 5, 2, 40)]).to(device)
    generator = torch.Generator().manual_seed(0)
    x_THd, kernel_THK = (torch.randn(48, 2, size, generator=generator).to(device) for size in (24, 9))
    x_TD, weight_KD = x_THd.flatten(1), kernel_THK.flatten(1)[:9].repeat(1, 3)[:, :48]
    try:
        for found, wanted in (
            (kernels.depthwise(x_TD, weight_KD, packed), depthwise_laid_apart(x_TD, weight_KD, packed)),
            (kernels.dynamic(x_THd, kernel_THK, packed), dynamic_laid_apart(x_THd, kernel_THK, packed)),
        ):
            torch.testing.assert_close(found, wanted, rtol=2e-2, atol=2e-2)
    except Exception as error:
        return in_a_line(error)
    return None
