"""Linear layers laid out for a GPU. Inference only.

An activation is fused into the product before it if cuBLAS has it. Groups are batched products that write
their results side by side. The bias, the residual and the norm after a product are one kernel.
Shape suffixes: T tokens, D width, I inputs and O outputs of all groups, G groups, i and o of one.
"""

from collections.abc import Iterator
from functools import cache

import torch
from torch import Tensor, nn

from corpusmill.models.architectures.mobilebert import MobileLayer
from corpusmill.models.gpu.embeddings import summed_embeddings
from corpusmill.models.gpu.mobilebert import RestOfLayer, bottleneck_disagreement
from corpusmill.models.gpu.mobilebert_layer import fused_bottleneck
from corpusmill.models.gpu.records import Norm
from corpusmill.models.gpu.sum_and_norm import SumAndNormKernels, checked_sum_and_norm
from corpusmill.models.layers.blocks import ActivatedLinear, FeedForward, GroupedLinear, PostNormLayer, added
from corpusmill.models.layers.norms import NormedLinear

# cuBLAS's GELU is the tanh form; it differs from the exact one by at most 5e-4, less than 16 bits resolve.
GELUS = (
    "gelu",
    "gelu_python",
    "gelu_accurate",
    "gelu_fast",
    "gelu_new",
    "gelu_python_tanh",
    "gelu_pytorch_tanh",
)
SIXTEEN_BITS = (torch.bfloat16, torch.float16)


class EpilogueLinear(nn.Module):
    """A linear map with its bias and GELU or ReLU at the end of the product."""

    def __init__(self, linear: nn.Linear, *, gelu: bool) -> None:
        super().__init__()
        self.weight = linear.weight
        self.bias = linear.bias
        self.gelu = gelu

    def forward(self, x_TD: Tensor) -> Tensor:
        return torch._addmm_activation(self.bias, x_TD, self.weight.t(), use_gelu=self.gelu)


class LinearWithoutBias(nn.Module):
    """A linear map without its bias: (T, I) to (T, O)."""

    def __init__(self, linear: nn.Linear | GroupedLinear) -> None:
        super().__init__()
        self.weight = linear.weight
        self.outputs = len(linear.bias)

    def forward(self, x_TI: Tensor) -> Tensor:
        if self.weight.ndim == 2:
            return torch.mm(x_TI, self.weight.t())
        tokens, groups = len(x_TI), len(self.weight)
        y_TO = torch.empty(tokens, self.outputs, dtype=x_TI.dtype, device=x_TI.device)
        x_GTi, y_GTo = (x.view(tokens, groups, -1).transpose(0, 1) for x in (x_TI, y_TO))
        torch.bmm(x_GTi, self.weight, out=y_GTo)
        return y_TO


class BatchedGroups(nn.Module):
    """A grouped linear map as batched products that write their results side by side."""

    def __init__(self, linear: GroupedLinear, kernels: SumAndNormKernels | None) -> None:
        super().__init__()
        self.products = LinearWithoutBias(linear)
        self.bias = linear.bias
        self.kernels = kernels

    def forward(self, x_TI: Tensor, residual_TO: Tensor | None = None) -> Tensor:
        y_TO = self.products(x_TI)
        # torch adds a row to a matrix at a third of the memory's speed.
        y_TO = (
            y_TO.add_(self.bias) if self.kernels is None else self.kernels.biased(y_TO, self.bias, gelu=False)
        )
        return added(y_TO, residual_TO)


class GeluGroups(nn.Module):
    """A grouped linear map, its bias and the GELU after it, the last two in one kernel."""

    def __init__(self, linear: GroupedLinear, kernels: SumAndNormKernels) -> None:
        super().__init__()
        self.products = LinearWithoutBias(linear)
        self.bias = linear.bias
        self.kernels = kernels

    def forward(self, x_TI: Tensor) -> Tensor:
        return self.kernels.biased(self.products(x_TI), self.bias, gelu=True)


class SummedNorm(nn.Module):
    """A linear map; then its bias, the residual and the norm over their sum in one kernel."""

    def __init__(self, linear: nn.Linear | GroupedLinear, norm: Norm, kernels: SumAndNormKernels) -> None:
        super().__init__()
        self.products = LinearWithoutBias(linear)
        self.bias = linear.bias
        self.norm = norm
        self.kernels = kernels

    def forward(self, x_TI: Tensor, residual_TD: Tensor | None = None) -> Tensor:
        return self.kernels.normed_sum(self.products(x_TI), self.bias, residual_TD, self.norm)


def lay_out_for_gpu(
    module: nn.Module,
    *,
    dtype: torch.dtype,
    kernels: SumAndNormKernels | None,
    rest_of_layer: RestOfLayer | None = None,
) -> str:
    """Replace layers below a module, and norms with kernels; return the replacements' description."""
    for parent, name, child in _children(module):
        fused: nn.Module | None = fused_bottleneck(child, rest_of_layer)
        if fused is None and kernels is not None:
            fused = summed_embeddings(child, kernels)
        if fused is not None:
            setattr(parent, name, fused)
    if kernels is not None:
        for part in list(module.modules()):
            _fuse_norms(part, kernels)
    for parent, name, child in _children(module):
        replacement = _replacement(parent, child, kernels)
        if replacement is None and isinstance(child, GroupedLinear):
            replacement = BatchedGroups(child, kernels)
        if replacement is not None:
            setattr(parent, name, replacement)
    ending = ", GELU (in its tanh form) and ReLU inside products" if dtype in SIXTEEN_BITS else ""
    return f"linear: cuBLAS ({dtype}){ending}"


def choose_layout(module: nn.Module, *, dtype: torch.dtype, device_type: str) -> str:
    """Lay out a module for the kernels that this machine has; return all reasons."""
    kernels, norms = choose_sum_and_norm(device_type, dtype)
    rest_of_layer, bottlenecks = None, ""
    if any(isinstance(part, MobileLayer) for part in module.modules()):
        rest_of_layer, reason = choose_rest_of_layer(device_type, dtype)
        bottlenecks = f"; {reason}"
    linear = lay_out_for_gpu(module, dtype=dtype, kernels=kernels, rest_of_layer=rest_of_layer)
    return f"{linear}; {norms}{bottlenecks}"


@cache
def choose_sum_and_norm(device_type: str, dtype: torch.dtype) -> tuple[SumAndNormKernels | None, str]:
    """Return the kernels for a device and dtype, or None if the steps stay separate, and the reason."""
    if device_type != "cuda" or dtype not in (torch.bfloat16, torch.float16):
        return None, f"norms: torch's own ({dtype} on {device_type})"
    try:
        from corpusmill.models.gpu.sum_and_norm_kernels import TritonSumAndNorm
    except ImportError as error:
        return None, f"norms: torch's own (no Triton: {error})"
    return checked_sum_and_norm(TritonSumAndNorm(), dtype=dtype, device=torch.device(device_type))


@cache
def choose_rest_of_layer(device_type: str, dtype: torch.dtype) -> tuple[RestOfLayer | None, str]:
    """Return the kernel for a device and dtype, or None if the maps stay separate, and the reason."""
    if device_type != "cuda" or dtype not in (torch.bfloat16, torch.float16):
        return None, f"bottlenecks: map by map ({dtype} on {device_type})"
    try:
        from corpusmill.models.gpu.mobilebert_kernels import rest_of_layer
    except ImportError as error:
        return None, f"bottlenecks: map by map (no Triton: {error})"
    wrong = bottleneck_disagreement(rest_of_layer, dtype=dtype, device=torch.device(device_type))
    if wrong is not None:
        return None, f"bottlenecks: map by map (the Triton kernel failed: {wrong})"
    return rest_of_layer, f"bottlenecks: one Triton kernel after attention ({dtype} on {device_type})"


def _children(module: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """Yield every module below, with its parent and its name, parents first."""
    for name, child in list(module.named_children()):
        yield module, name, child
        # A replacement is not searched again.
        if getattr(module, name) is child:
            yield from _children(child)


def _replacement(parent: nn.Module, child: nn.Module, kernels: SumAndNormKernels | None) -> nn.Module | None:
    if not isinstance(child, ActivatedLinear) or child.linear.bias is None:
        return None
    name, linear = child.activation.name, child.linear
    if linear.bias.dtype not in SIXTEEN_BITS:
        return None
    if isinstance(linear, GroupedLinear):
        return GeluGroups(linear, kernels) if name in GELUS and kernels is not None else None
    if not isinstance(linear, nn.Linear):
        return None
    # A ReLU that turns NaN into 0 would hide a broken checkpoint; in feed-forward parts residuals keep NaN.
    if name in GELUS or (name == "relu" and isinstance(parent, FeedForward) and _finite(linear)):
        return EpilogueLinear(linear, gelu=name != "relu")
    return None


def _finite(linear: nn.Module) -> bool:
    return all(bool(parameter.isfinite().all()) for parameter in linear.parameters())


def _fuse_norms(part: nn.Module, kernels: SumAndNormKernels) -> None:
    if isinstance(part, PostNormLayer):
        for inside, place, name in (
            (part.attention, "output", "attention_norm"),
            (part.feed_forward, "outer", "feed_forward_norm"),
        ):
            norm, linear = Norm.of(getattr(part, name)), getattr(inside, place)
            if norm is not None and isinstance(linear, nn.Linear | GroupedLinear):
                setattr(inside, place, SummedNorm(linear, norm, kernels))
                setattr(part, name, nn.Identity())
    for name, child in list(part.named_children()):
        if isinstance(child, NormedLinear) and isinstance(child.linear, nn.Linear):
            norm = Norm.of(child.norm)
            if norm is not None:
                setattr(part, name, SummedNorm(child.linear, norm, kernels))
