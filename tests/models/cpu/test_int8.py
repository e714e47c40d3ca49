"""8-bit linear layers: near the exact ones, and each token by itself."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from corpusmill.models import PackedTokens, TensorError, load_model
from corpusmill.models.cpu import int8
from corpusmill.models.cpu.int8 import QuantizedLinear, has_int8_products, quantized_linear
from corpusmill.models.layers.activations import ACTIVATIONS
from corpusmill.models.layers.blocks import ActivatedLinear

pytestmark = pytest.mark.skipif(not has_int8_products(), reason="this CPU has no VNNI, or torch no oneDNN")
QUANTIZED = ["bert", "convbert", "distilbert", "squeezebert"]
SEQUENCES = [[2, 40, 3], [2, 90, 91, 92, 200, 3], [2, 301, 7, 3], [2, *range(100, 225), 3], [5]]


def layer_of(linear: nn.Linear, activation: str = "linear") -> QuantizedLinear:
    layer = quantized_linear(linear, activation)
    assert layer is not None
    return layer


def error(ours: Tensor, wanted: Tensor) -> float:
    return float(torch.linalg.norm(ours - wanted) / torch.linalg.norm(wanted))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_a_layer_is_near_the_exact_one(activation: str, bias: bool, dtype: torch.dtype) -> None:
    """255 steps on either side leave about 1 %, tokens with an offset included."""
    torch.manual_seed(0)
    exact = ActivatedLinear(96, 128, activation, bias=bias)
    x_TD = (torch.randn(77, 96) + torch.randn(77, 1)).to(dtype)
    y_TO = layer_of(exact.linear, activation)(x_TD)
    assert y_TO.dtype == torch.float32
    assert error(y_TO, exact(x_TD.float())) < 0.02


@pytest.mark.parametrize("block", [1, 5000, 1 << 19])
@torch.inference_mode()
def test_a_token_does_not_depend_on_its_neighbours(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    """One with huge values changes not even the rounding of the others, nor does the block it falls into."""
    torch.manual_seed(0)
    layer, x_TD = layer_of(nn.Linear(96, 128), "gelu"), torch.randn(200, 96)
    alone = torch.cat([layer(x_D[None]) for x_D in x_TD])
    monkeypatch.setattr(int8, "BLOCK", block)
    x_TD[7] *= 1e6
    others = torch.arange(200) != 7
    torch.testing.assert_close(layer(x_TD)[others], alone[others], rtol=0, atol=1e-6)


@torch.inference_mode()
def test_equal_values_and_zeros_are_exact() -> None:
    """A token without a range has no steps, only an offset."""
    torch.manual_seed(0)
    linear = nn.Linear(96, 128)
    x_TD = torch.tensor([[0.0], [5.0], [-3.0]]).expand(3, 96)
    weight = int8.quantize(linear.weight)
    wanted = nn.functional.linear(x_TD, weight.values * weight.scale, linear.bias)
    torch.testing.assert_close(layer_of(linear)(x_TD), wanted, rtol=0, atol=1e-4)


@torch.inference_mode()
def test_infinity_is_not_hidden() -> None:
    """As in floating point, a token with infinity has no finite result."""
    x_TD = torch.ones(2, 96)
    x_TD[1, 3] = torch.inf
    y_TO = layer_of(nn.Linear(96, 128))(x_TD)
    assert y_TO[0].isfinite().all()
    assert not y_TO[1].isfinite().any()


@pytest.mark.parametrize("name", ["weight", "bias"])
@torch.inference_mode()
def test_broken_weights_are_refused(name: str) -> None:
    """Integers cannot carry NaN from a checkpoint to its results."""
    linear = nn.Linear(96, 128)
    getattr(linear, name).view(-1)[5] = torch.nan
    with pytest.raises(TensorError, match=r"int8 needs finite weights.*use float32"):
        quantized_linear(linear)


@torch.inference_mode()
def test_what_would_lose_too_much_stays() -> None:
    """Rows of small weights beside one large one, and maps too narrow to gain from it."""
    linear = nn.Linear(96, 128)
    assert quantized_linear(linear) is not None
    linear.weight[:, 0] = 10
    linear.weight[:, 1:] *= 0.1
    assert quantized_linear(linear) is None
    assert quantized_linear(nn.Linear(96, 63)) is None


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("architecture", QUANTIZED)
def test_a_model_is_near_float32_and_packed_equals_alone(
    monkeypatch: pytest.MonkeyPatch, checkpoints: Callable[[str, str], Path], architecture: str
) -> None:
    """A sequence alone takes the same steps on the same scales."""
    monkeypatch.setattr(int8, "NARROWEST", 8)
    folder = checkpoints(architecture, "base")
    exact, model = load_model(folder), load_model(folder, dtype="int8")
    packed = PackedTokens.from_sequences(SEQUENCES)
    states_TD = model(packed).last_hidden_state
    assert states_TD.dtype == torch.float32
    assert error(states_TD, exact(packed).last_hidden_state) < 0.05
    for state_LD, ids in zip(packed.split(states_TD), SEQUENCES, strict=True):
        alone_LD = model(PackedTokens.from_sequences([ids])).last_hidden_state
        assert error(alone_LD, state_LD) < 1e-6


@pytest.mark.usefixtures("no_kernels_in_c")
def test_int8_says_what_it_does(
    monkeypatch: pytest.MonkeyPatch, checkpoints: Callable[[str, str], Path]
) -> None:
    """How many layers are quantized; embeddings, norms and heads are not."""
    monkeypatch.setattr(int8, "NARROWEST", 8)
    model = load_model(checkpoints("bert", "text-classification"), dtype="int8")
    assert "int8 products with scales by token" in model.kernel_reason
    assert model.dtype == torch.float32
    assert any(isinstance(module, QuantizedLinear) for module in model.encoder.modules())
    assert not any(isinstance(module, QuantizedLinear) for module in model.head.modules())
