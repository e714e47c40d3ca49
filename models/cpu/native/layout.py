"""The choice of linear maps and layers that run on the kernels in C."""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from corpusmill.models.cpu.native.bindings import NUMBERS, library
from corpusmill.models.cpu.native.bottleneck import NativeMobileLayer
from corpusmill.models.cpu.native.layers import NativePostNormLayer
from corpusmill.models.cpu.native.maps import NativeMap, native_map
from corpusmill.models.layers.blocks import FeedForward, Projections
from corpusmill.models.layers.fused_qkv import FusedQKV, replace_modules


def native_layout(dtype: torch.dtype) -> tuple[bool, str]:
    """Return whether the kernels can run maps of a dtype on this CPU, and why."""
    loaded, reason = library()
    if loaded is None:
        return False, f"no kernels in C: {reason}"
    if dtype not in NUMBERS:
        return False, f"no kernels in C: they have no {dtype}"
    return True, f"linear: {reason}, what follows attention in one pass over the rows ({dtype} on CPU)"


def maps_in_c(module: nn.Module, *, int8: bool = False, attention: torch.dtype | None = None) -> int:
    """Replace the linear maps below a module; return how many were replaced.

    With `int8` only maps for which 8 bits pay are replaced. `attention` is the dtype of query, key and value.
    """
    replace_modules(module, partial(_replacement, int8=int8, attention=attention))
    return sum(isinstance(part, NativeMap) for part in module.modules())


def layers_in_c(module: nn.Module, *, number: torch.dtype) -> None:
    """Replace layers whose maps are on the kernels by whole layers; `number` is the dtype of their rows."""
    of: tuple[Callable[..., nn.Module | None], ...] = (NativePostNormLayer.of, NativeMobileLayer.of)
    for kind in of:
        replace_modules(module, partial(kind, number=number))


def _replacement(module: nn.Module, *, int8: bool, attention: torch.dtype | None) -> nn.Module | None:
    if isinstance(module, FusedQKV | Projections):
        replace_modules(module, partial(native_map, int8=int8, result=attention))
        return module
    if isinstance(module, FeedForward) and int8:
        _two_in_bytes(module)
    return native_map(module, int8=int8)


def _two_in_bytes(module: FeedForward) -> None:
    """Replace the two maps of a feed-forward part by 8-bit maps with 16-bit values between them."""
    inner = native_map(module.inner, int8=True, result=torch.bfloat16)
    outer = native_map(module.outer, int8=True)
    if inner is not None and outer is not None:
        module.inner, module.outer = inner, outer
