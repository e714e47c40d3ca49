"""A MobileBERT layer laid out for a GPU: one product, attention, one kernel for the rest. Inference only.

The bottleneck's entry, query, key and value are linear in the layer's input once the norms between them are
folded: one product computes all four. `mobilebert.py` has the rest.
Shape suffixes: T tokens, D width, B bottleneck width.
"""

import torch
from torch import Tensor, nn

from corpusmill.models.architectures.mobilebert import MobileLayer
from corpusmill.models.gpu.mobilebert import RestOfLayer
from corpusmill.models.gpu.records import Rest
from corpusmill.models.layers.blocks import ActivatedLinear, AttentionOptions, FeedForward, attend_heads
from corpusmill.models.layers.norms import NormedLinear, ScaleAndShift
from corpusmill.models.packed import PackedTokens


class FusedBottleneck(nn.Module):
    """A layer as one product, attention and `rest_of_layer`."""

    def __init__(self, layer: MobileLayer, rest_of_layer: RestOfLayer) -> None:
        super().__init__()
        self.heads = layer.attention.heads
        self.entry = _entry_map(layer)
        self.rest = _rest(layer)
        self.rest_of_layer = rest_of_layer

    def forward(self, x_TD: Tensor, packed: PackedTokens, options: AttentionOptions | None = None) -> Tensor:
        x_TB, q_TB, k_TB, v_TB = self.entry(x_TD).chunk(4, dim=-1)
        y_TB = attend_heads(q_TB, k_TB, v_TB, packed, heads=self.heads, options=options)
        return self.rest_of_layer(y_TB, x_TB, x_TD, self.rest)


def fused_bottleneck(layer: nn.Module, rest_of_layer: RestOfLayer | None) -> FusedBottleneck | None:
    """Return the fused layer; None without a kernel for it, and for weights that are not finite.

    The kernel could hide what such weights give.
    """
    if rest_of_layer is None or not isinstance(layer, MobileLayer) or not _fits(layer):
        return None
    return FusedBottleneck(layer, rest_of_layer)


def _fits(layer: MobileLayer) -> bool:
    if layer.entry is None or layer.shared_entry is None or layer.leave is None:
        return False
    inside = [
        layer.entry,
        layer.shared_entry,
        layer.attention.output,
        *(part.outer for part in _parts(layer)),
    ]
    return (
        all(isinstance(part, NormedLinear) and isinstance(part.norm, nn.Identity) for part in inside)
        and isinstance(layer.leave.norm, ScaleAndShift)
        and all(_rectified(part) for part in _parts(layer))
        and all(bool(parameter.isfinite().all()) for parameter in layer.parameters())
        and _fills_tiles(layer)
    )


def _fills_tiles(layer: MobileLayer) -> bool:
    """Return whether the kernel's tiles fill the widths."""
    width, narrow = _map(layer.leave).weight.shape
    inner = {len(_maps(part)[0].weight) for part in _parts(layer)}
    return narrow in (16, 32, 64, 128) and len(inner) == 1 and inner.pop() % 16 == 0 and width % 16 == 0


def _rectified(part: FeedForward) -> bool:
    return isinstance(part.inner, ActivatedLinear) and part.inner.activation.name == "relu"


def _parts(layer: MobileLayer) -> tuple[FeedForward, ...]:
    parts = (*layer.ffn, layer.last)
    return tuple(part for part in parts if isinstance(part, FeedForward))


def _maps(part: FeedForward) -> tuple[nn.Linear, nn.Linear]:
    assert isinstance(part.inner, ActivatedLinear)
    assert isinstance(part.inner.linear, nn.Linear)
    return part.inner.linear, _map(part.outer)


def _map(part: nn.Module | None) -> nn.Linear:
    assert isinstance(part, NormedLinear)
    assert isinstance(part.linear, nn.Linear)
    return part.linear


def _entry_map(layer: MobileLayer) -> nn.Linear:
    """Return one map of the layer's input to the bottleneck's entry, query, key and value."""
    attention, entry, query_key_map = layer.attention, _map(layer.entry), _map(layer.shared_entry)
    parts = [(entry.weight.double(), entry.bias.double())]
    for map_ in (attention.query, attention.key):
        weight = map_.weight.double()
        parts.append(
            (weight @ query_key_map.weight.double(), weight @ query_key_map.bias.double() + map_.bias)
        )
    parts.append((attention.value.weight.double(), attention.value.bias.double()))
    dtype = attention.value.weight.dtype
    weight, bias = (torch.cat(each).to(dtype) for each in zip(*parts, strict=True))
    joint = nn.Linear(weight.shape[1], len(weight), device="meta")
    joint.weight, joint.bias = (nn.Parameter(each, requires_grad=False) for each in (weight, bias))
    return joint


def _rest(layer: MobileLayer) -> Rest:
    """Return the weights after attention of a layer whose inner norms are folded."""
    assert layer.leave is not None
    maps = [_maps(part) for part in _parts(layer)]
    output, leave, norm = _map(layer.attention.output), _map(layer.leave), layer.leave.norm
    assert isinstance(norm, ScaleAndShift)
    return Rest(
        len(maps),
        output=output.weight,
        output_bias=output.bias,
        inner=torch.cat([inner.weight for inner, _ in maps]),
        inner_bias=torch.cat([inner.bias for inner, _ in maps]),
        outer=torch.cat([outer.weight.T for _, outer in maps]),
        outer_bias=torch.cat([outer.bias for _, outer in maps]),
        leave=leave.weight,
        leave_bias=leave.bias,
        factor=norm.weight,
        addend=norm.bias,
    )
