"""Linear layers laid out for the machine at load time.

Query, key and value become one matrix everywhere. CPUs with the needed instructions run maps and layers on
kernels in C (`native/`). Other CPUs use oneDNN: weights are reordered once, and the activation after a layer
runs inside its matrix product. For int8 the layers' weights are quantized first. For GPUs see
`gpu/layout.py`.
Shape suffixes: T tokens, D width, I inputs and O outputs of a group.
"""

from collections.abc import Container, Iterable
from functools import partial
from itertools import starmap
from typing import TypeGuard

import torch
from torch import Tensor, nn

from corpusmill.models.cpu.int8 import QuantizedLinear, QuantizedPair, quantized_linear
from corpusmill.models.cpu.native.layout import layers_in_c, maps_in_c, native_layout
from corpusmill.models.cpu.native.maps import groups_of, native_map
from corpusmill.models.cpu.prepacked import (
    FUSED,
    FUSED_BESIDE_A_RESIDUAL,
    GroupedConvolution,
    PrepackedLinear,
)
from corpusmill.models.gpu.layout import choose_layout
from corpusmill.models.layers.blocks import (
    ActivatedLinear,
    FeedForward,
    GroupedLinear,
    Linear,
    Projections,
    added,
)
from corpusmill.models.layers.fused_qkv import FusedQKV, fuse_qkv, replace_modules
from corpusmill.models.layers.norm_folding import Folding


class SeparateGroups(nn.Module):
    """A grouped linear map as one layer per group."""

    def __init__(self, groups: Iterable[nn.Module]) -> None:
        super().__init__()
        self.groups = nn.ModuleList(groups)

    def forward(self, x_TD: Tensor, residual_TO: Tensor | None = None) -> Tensor:
        parts = x_TD.chunk(len(self.groups), dim=-1)
        y_TO = torch.cat([group(part) for group, part in zip(self.groups, parts, strict=True)], dim=-1)
        return added(y_TO, residual_TO)


def fold_norms(module: nn.Module) -> None:
    """Fold the norms that only scale and shift into the linear layers below a module."""
    for part in module.modules():
        if isinstance(part, Folding):
            part.fold_norms()


def lay_out(module: nn.Module, *, dtype: torch.dtype, device: torch.device) -> str:
    """Replace the linear layers below a module by the machine's fastest; return which, and why."""
    replace_modules(module, fuse_qkv)
    if device.type == "cuda":
        return choose_layout(module, dtype=dtype, device_type=device.type)
    native, reason = native_layout(dtype)
    if native:
        maps_in_c(module)
        layers_in_c(module, number=dtype)
    prepack, other = prepacking(device.type, dtype)
    if prepack:
        # Only the layers without a kernel in C are left.
        replace_modules(module, _prepack)
    return reason if native else f"{other}; {reason}"


def quantize_layers(encoder: nn.Module, *, attention: torch.dtype) -> str:
    """Replace the linear layers of an encoder's layers by 8-bit ones where that is faster; return how many.

    `attention` is the dtype of query, key and value. `lay_out` replaces the other layers.
    """
    replace_modules(encoder, fuse_qkv)
    layers: nn.Module = encoder.layers  # type: ignore[assignment]
    if native_layout(torch.float32)[0]:
        count = maps_in_c(layers, int8=True, attention=attention)
        return f"linear: {count} int8 maps in C with scales by token and by output feature"
    replace_modules(layers, partial(_quantize, attention=attention))
    replace_modules(encoder, _pair)
    count = sum(isinstance(module, QuantizedLinear) for module in encoder.modules())
    return f"linear: {count} oneDNN int8 products with scales by token and by output feature"


def eight_bit_map(linear: nn.Linear) -> nn.Module | None:
    """Return a map in 8 bits as `quantize_layers` would, or None if it would not replace the map."""
    native = native_layout(torch.float32)[0]
    return native_map(linear, int8=True) if native else quantized_linear(linear)


def prepacking(device_type: str, dtype: torch.dtype) -> tuple[bool, str]:
    """Return whether oneDNN's prepacked layers can be used, and why."""
    if device_type != "cpu":
        return False, f"linear: torch.nn.Linear ({dtype} on {device_type})"
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not (available and hasattr(torch.ops.mkldnn, "_linear_pointwise")):
        return False, "linear: torch.nn.Linear (this torch has no oneDNN)"
    if dtype is torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False, "linear: torch.nn.Linear (oneDNN has no bfloat16 on this CPU)"
    return True, f"linear: oneDNN with prepacked weights ({dtype} on CPU)"


def _prepack(module: nn.Module) -> nn.Module | None:
    if isinstance(module, FeedForward):
        # Its other layers are visited later.
        module.inner = _activated(module.inner, FUSED_BESIDE_A_RESIDUAL) or module.inner
        return None
    return _activated(module, FUSED) or _prepacked(module, "linear")


def _activated(module: nn.Module, fused: Container[str]) -> nn.Module | None:
    """Return the layer with its activation inside the product; None if that could hide NaN."""
    if not isinstance(module, ActivatedLinear) or module.activation.name not in fused:
        return None
    if module.activation.name not in FUSED and not _finite(module):
        return None
    return _prepacked(module.linear, module.activation.name)


def _finite(module: nn.Module) -> bool:
    return all(bool(parameter.isfinite().all()) for parameter in module.parameters())


def _prepacked(linear: nn.Module, activation: str) -> nn.Module | None:
    if isinstance(linear, GroupedLinear):
        return GroupedConvolution(linear, activation)
    return PrepackedLinear(linear, activation) if _plain(linear) else None


def _pair(module: nn.Module) -> nn.Module | None:
    """Run the two 8-bit layers of a feed-forward part, or those of each group, block by block."""
    if isinstance(module, FeedForward):
        inner, outer = module.inner, module.outer
        if isinstance(inner, SeparateGroups) and isinstance(outer, SeparateGroups):
            if len(inner.groups) == len(outer.groups):
                both = zip(inner.groups, outer.groups, strict=True)
                module.inner, module.outer = nn.Identity(), SeparateGroups(starmap(QuantizedPair, both))
        elif isinstance(inner, QuantizedLinear) and isinstance(outer, QuantizedLinear):
            module.inner, module.outer = nn.Identity(), QuantizedPair(inner, outer)
    return None


def _quantize(module: nn.Module, *, attention: torch.dtype) -> nn.Module | None:
    if isinstance(module, FusedQKV | Projections):
        replace_modules(module, partial(_quantized, result=attention))
        return module
    if isinstance(module, ActivatedLinear):
        return _quantized(module.linear, module.activation.name)
    return _quantized(module)


def _quantized(
    linear: nn.Module, activation: str = "linear", *, result: torch.dtype = torch.float32
) -> nn.Module | None:
    make = partial(quantized_linear, activation=activation, result=result)
    if isinstance(linear, GroupedLinear):
        groups = [group for group in map(make, groups_of(linear)) if group is not None]
        return SeparateGroups(groups) if len(groups) == len(linear.weight) else None
    return make(linear) if _plain(linear) else None


def _plain(module: object) -> TypeGuard[nn.Linear]:
    return type(module) in (nn.Linear, Linear)
