"""Prepacked and joined linear layers against torch's own."""

import pytest
import torch
from torch import nn

from corpusmill.models.cpu import prepacked
from corpusmill.models.cpu.layout import FusedQKV, lay_out, prepacking
from corpusmill.models.cpu.prepacked import (
    FUSED,
    FUSED_BESIDE_A_RESIDUAL,
    GroupedConvolution,
    PrepackedLinear,
)
from corpusmill.models.layers.activations import ACTIVATIONS
from corpusmill.models.layers.blocks import ActivatedLinear, FeedForward, SelfAttention
from corpusmill.models.packed import PackedTokens

pytestmark = pytest.mark.usefixtures("no_kernels_in_c")
CPU = torch.device("cpu")
needs_onednn = pytest.mark.skipif(
    not prepacking("cpu", torch.float32)[0], reason=prepacking("cpu", torch.float32)[1]
)


@needs_onednn
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("bias", [True, False])
@torch.inference_mode()
def test_an_activated_linear_keeps_its_function(activation: str, bias: bool) -> None:
    """Whether its activation is fused or not, for one row and for many."""
    torch.manual_seed(0)
    plain = ActivatedLinear(24, 40, activation, bias=bias)
    packed = nn.Sequential(ActivatedLinear(24, 40, activation, bias=bias))
    packed.load_state_dict({f"0.{name}": value for name, value in plain.state_dict().items()})
    lay_out(packed, dtype=torch.float32, device=CPU)
    for rows in (1, 77):
        x = torch.randn(rows, 24)
        torch.testing.assert_close(packed(x), plain(x), rtol=0, atol=1e-5)


@needs_onednn
@pytest.mark.parametrize("activation", ["linear", "gelu", "relu"])
@pytest.mark.parametrize("rows", [1, 77])
@torch.inference_mode()
def test_a_grouped_linear_keeps_its_function(activation: str, rows: int) -> None:
    """Each group sees its own inputs only, batched or as a convolution."""
    torch.manual_seed(0)
    module = nn.Sequential(ActivatedLinear(24, 40, activation, groups=4))
    for parameter in module.parameters():
        parameter.normal_()
    grouped, x = module[0].linear, torch.randn(rows, 24)
    dense = torch.block_diag(*grouped.weight)
    wanted = module[0].activation(x @ dense + grouped.bias)
    torch.testing.assert_close(module(x), wanted, rtol=0, atol=1e-5)
    lay_out(module, dtype=torch.float32, device=CPU)
    assert any(isinstance(part, GroupedConvolution) for part in module.modules())
    torch.testing.assert_close(module(x), wanted, rtol=0, atol=1e-5)


@needs_onednn
@pytest.mark.parametrize("groups", [(1, 1), (4, 4), (4, 2)])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
@pytest.mark.parametrize("rows", [1, 77])
@pytest.mark.parametrize("adding", [0, 1024])
@torch.inference_mode()
def test_a_feed_forward_part_keeps_its_function(
    monkeypatch: pytest.MonkeyPatch, groups: tuple[int, int], activation: str, rows: int, adding: int
) -> None:
    """With its activation, and perhaps its residual, inside the products, in groups or not."""
    monkeypatch.setattr(prepacked, "ADDING", adding)
    torch.manual_seed(0)
    module = nn.Sequential(FeedForward(24, 40, activation, groups=groups))
    for parameter in module.parameters():
        parameter.normal_()
    x_TD = torch.randn(rows, 24)
    inner = module[0].inner(x_TD)
    wanted = module[0].outer(inner) + x_TD
    torch.testing.assert_close(module(x_TD), wanted, rtol=0, atol=0)
    lay_out(module, dtype=torch.float32, device=CPU)
    assert isinstance(module[0].inner, PrepackedLinear | GroupedConvolution)
    assert isinstance(module[0].outer, PrepackedLinear | GroupedConvolution)
    torch.testing.assert_close(module(x_TD), wanted, rtol=0, atol=1e-4)


@needs_onednn
@pytest.mark.parametrize("activation", FUSED_BESIDE_A_RESIDUAL)
@pytest.mark.parametrize("groups", [(1, 1), (4, 4)])
@torch.inference_mode()
def test_a_feed_forward_part_keeps_nan(activation: str, groups: tuple[int, int]) -> None:
    """Of its input and of its weights, whatever is fused."""
    torch.manual_seed(0)
    for broken in ("input", "inner.linear.weight", "inner.linear.bias", "outer.weight"):
        module = nn.Sequential(FeedForward(24, 40, activation, groups=groups))
        for parameter in module.parameters():
            parameter.normal_()
        x_TD = torch.randn(3, 24)
        if broken == "input":
            x_TD[1] = torch.nan
        else:
            module[0].get_parameter(broken).view(-1)[0] = torch.nan
        wanted = module(x_TD).isnan()
        assert wanted.any()
        lay_out(module, dtype=torch.float32, device=CPU)
        assert module(x_TD).isnan()[wanted].all()


@pytest.mark.parametrize("activation", FUSED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_fused_activations_keep_nan(activation: str, dtype: torch.dtype) -> None:
    """A kernel that turned NaN into a number would hide a broken checkpoint."""
    usable, reason = prepacking("cpu", dtype)
    if not usable:
        pytest.skip(reason)
    layer = PrepackedLinear(nn.Linear(16, 16, dtype=dtype), activation)
    assert layer(torch.full((3, 16), float("nan"), dtype=dtype)).isnan().all()


@torch.inference_mode()
def test_joined_projections_keep_attention() -> None:
    """Query, key and value from one matrix give what three give."""
    torch.manual_seed(0)
    attention = SelfAttention(32, 4)
    packed, x_TD = PackedTokens.from_sequences([[1] * 5, [1] * 9]), torch.randn(14, 32)
    wanted = attention(x_TD, packed)
    lay_out(attention, dtype=torch.float32, device=CPU)
    assert isinstance(attention.projections, FusedQKV)
    torch.testing.assert_close(attention(x_TD, packed), wanted, rtol=0, atol=1e-5)


def test_without_onednn_torch_layers_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the reason is told."""
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    module = nn.Sequential(ActivatedLinear(8, 8, "gelu"))
    reason = lay_out(module, dtype=torch.float32, device=CPU)
    assert reason.startswith("linear: torch.nn.Linear (this torch has no oneDNN)")
    assert isinstance(module[0], ActivatedLinear)


def test_a_gpu_keeps_torch_layers() -> None:
    """oneDNN is for CPUs."""
    assert prepacking("cuda", torch.bfloat16) == (False, "linear: torch.nn.Linear (torch.bfloat16 on cuda)")
