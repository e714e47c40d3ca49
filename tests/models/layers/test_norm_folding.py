"""Norms that only scale and shift, folded into the linear maps around them."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from corpusmill.models import PackedTokens, load_model
from corpusmill.models.layers.blocks import FeedForward
from corpusmill.models.layers.norm_folding import Folding, fold_alone, fold_chain
from corpusmill.models.layers.norms import NormedLinear, ScaleAndShift

WIDTH, INNER = 12, 20


def normed(inputs: int, outputs: int) -> NormedLinear:
    return NormedLinear(inputs, outputs, ScaleAndShift(outputs))


class Chain(nn.Module):
    """What a bottleneck does: a sum that parts read and add to, and a map that reads it last."""

    def __init__(self) -> None:
        super().__init__()
        self.first = normed(WIDTH, WIDTH)
        self.parts = nn.ModuleList(
            FeedForward(WIDTH, INNER, "relu", outer=normed(INNER, WIDTH)) for _ in range(3)
        )
        self.last = normed(WIDTH, 2 * WIDTH)

    def forward(self, x_TD: Tensor, residual_TD: Tensor) -> Tensor:
        y_TD = self.first(x_TD, residual_TD)
        for part in self.parts:
            y_TD = part(y_TD)
        return self.last(y_TD)

    def fold_norms(self) -> None:
        fold_chain(self.first, self.parts, self.last)


def random_chain() -> Chain:
    torch.manual_seed(0)
    chain = Chain().requires_grad_(False)
    for parameter in chain.parameters():
        parameter.normal_(0.0, 0.5)
    return chain


def norms(module: nn.Module) -> int:
    return sum(isinstance(part, ScaleAndShift) for part in module.modules())


@pytest.mark.parametrize(
    ("factor", "left"), [(1.0, 0), (-0.3, 0), (1e-6, 0), (0.0, 1), (1e-20, 1), (1e20, 1)]
)
@torch.inference_mode()
def test_a_folded_chain_keeps_its_function(factor: float, left: int) -> None:
    """Negative factors too; a norm that cannot be undone stays, and the others go."""
    chain, (x_TD, residual_TD) = random_chain(), torch.randn(2, 31, WIDTH)
    chain.parts[1].outer.norm.weight[5] *= 0  # type: ignore[union-attr,index]
    chain.parts[1].outer.norm.weight[5] += factor  # type: ignore[union-attr,index]
    wanted = copy.deepcopy(chain).double()(x_TD.double(), residual_TD.double())
    chain.fold_norms()
    assert norms(chain) == left + 1  # the last one's own
    y_TD = chain(x_TD, residual_TD)
    assert (y_TD - wanted).abs().max() <= 1e-5 * wanted.abs().max()


@torch.inference_mode()
def test_a_norm_behind_a_map_alone_vanishes() -> None:
    """Nothing is added in between."""
    torch.manual_seed(0)
    part, x_TD = normed(WIDTH, 7).requires_grad_(False), torch.randn(5, WIDTH)
    for parameter in part.parameters():
        parameter.normal_()
    wanted = part(x_TD)
    fold_alone(part)
    assert norms(part) == 0
    torch.testing.assert_close(part(x_TD), wanted, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("no_kernels_in_c")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_loaded_bottleneck_has_no_norm_within(checkpoints: Callable[[str, str], Path], dtype: str) -> None:
    """Only the one at its end, which adds the layer's own input; folded before weights are rounded."""
    model = load_model(checkpoints("mobilebert", "base"), dtype=dtype)
    layers = [layer for layer in model.encoder.layers if isinstance(layer, Folding)]
    assert [norms(layer) for layer in layers] == [1, 1]
    assert all(parameter.dtype == model.dtype for parameter in model.encoder.parameters())
    exact = load_model(checkpoints("mobilebert", "base"))
    packed = PackedTokens.from_sequences([[2, 40, 41, 3], [2, 3]])
    ours, wanted = model(packed).last_hidden_state.float(), exact(packed).last_hidden_state
    assert (ours - wanted).norm() <= 0.02 * wanted.norm()
