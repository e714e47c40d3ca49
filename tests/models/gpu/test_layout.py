"""The layout that GPUs get, on a CPU: with the definitions in place of the fused kernels."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.tiny_checkpoints import write_checkpoint
from torch import nn

from corpusmill.models import Model, loading
from corpusmill.models.architectures import ARCHITECTURES
from corpusmill.models.architectures.mobilebert import MobileLayer
from corpusmill.models.gpu.embeddings import SummedEmbeddings
from corpusmill.models.gpu.layout import (
    BatchedGroups,
    EpilogueLinear,
    GeluGroups,
    SummedNorm,
    choose_layout,
    choose_rest_of_layer,
    choose_sum_and_norm,
    lay_out_for_gpu,
)
from corpusmill.models.gpu.mobilebert import bottleneck_disagreement, plain_rest_of_layer
from corpusmill.models.gpu.mobilebert_layer import FusedBottleneck
from corpusmill.models.gpu.records import Norm
from corpusmill.models.gpu.sum_and_norm import PlainSumAndNorm, SumAndNormKernels, checked_sum_and_norm
from corpusmill.models.heads import HEADS
from corpusmill.models.layers.activations import ACTIVATIONS
from corpusmill.models.layers.blocks import ActivatedLinear, FeedForward, GroupedLinear, PostNormLayer
from corpusmill.models.layers.norms import NormedLinear
from corpusmill.models.packed import PackedTokens

Checkpoints = Callable[[str, str], Path]
CELLS = [(name, task) for name, spec in ARCHITECTURES.items() for task in HEADS if task not in spec.lacks]
SEQUENCES = [[5 + (7 * n + k) % 400 for k in range(n)] for n in (3, 128, 1, 21, 21)]


def as_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch, folder: Path, task: str, dtype: str, kernels: SumAndNormKernels | None
) -> Model:
    """A model on the CPU in a GPU's layout."""

    def lay_out(module: nn.Module, *, dtype: torch.dtype, device: torch.device) -> str:
        return lay_out_for_gpu(module, dtype=dtype, kernels=kernels)

    monkeypatch.setattr(loading, "lay_out", lay_out)
    return loading.load_model(folder, task, dtype=dtype)


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "task"), CELLS)
@pytest.mark.parametrize("fused", [True, False])
def test_the_layout_keeps_every_models_function(
    monkeypatch: pytest.MonkeyPatch,
    checkpoints: Checkpoints,
    results: Any,
    architecture: str,
    task: str,
    fused: bool,
) -> None:
    """In float32, with norms fused and not."""
    folder, packed = checkpoints(architecture, task), PackedTokens.from_sequences(SEQUENCES)
    wanted = results(loading.load_model(folder, task), packed)
    model = as_on_a_gpu(monkeypatch, folder, task, "float32", PlainSumAndNorm() if fused else None)
    for found, expected in zip(results(model, packed), wanted, strict=True):
        for name, value in expected.items():
            scale = max(part[name].abs().max() for part in wanted)
            assert (found[name] - value).abs().max() <= 2e-5 * scale


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_sixteen_bits_stay_close_to_float32(
    monkeypatch: pytest.MonkeyPatch, checkpoints: Checkpoints, architecture: str
) -> None:
    """As close as the CPU's own layout is required to be."""
    folder, packed = checkpoints(architecture, "embedding"), PackedTokens.from_sequences(SEQUENCES)
    wanted = loading.load_model(folder, "embedding")(packed).embeddings
    model = as_on_a_gpu(monkeypatch, folder, "embedding", "bfloat16", PlainSumAndNorm())
    assert torch.cosine_similarity(model(packed).embeddings, wanted).min() >= 0.999


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_layers_are_what_a_gpu_likes(
    monkeypatch: pytest.MonkeyPatch, checkpoints: Checkpoints, architecture: str
) -> None:
    """Two fused norms a layer; activations inside their products, or in one kernel with their bias."""
    model = as_on_a_gpu(monkeypatch, checkpoints(architecture, "base"), "base", "bfloat16", PlainSumAndNorm())
    count = {
        kind: sum(isinstance(part, kind) for part in model.encoder.modules())
        for kind in (SummedNorm, EpilogueLinear, GeluGroups, BatchedGroups, nn.LayerNorm, GroupedLinear)
    }
    layers = 2
    assert count[nn.LayerNorm] == 0
    assert isinstance(model.encoder.embeddings, SummedEmbeddings)
    if architecture == "mobilebert":  # its other norms are folded away
        assert count[SummedNorm] == layers
        assert count[EpilogueLinear] == 4 * layers
    else:
        assert count[SummedNorm] == 2 * layers
        assert count[GeluGroups if architecture == "squeezebert" else EpilogueLinear] == layers
    assert count[GroupedLinear] == 0
    assert count[BatchedGroups] == (3 * layers if architecture == "squeezebert" else 0)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@torch.inference_mode()
def test_an_activation_goes_into_the_product_only_where_it_is_the_same(activation: str) -> None:
    """GELU of either form does; a ReLU outside of a feed-forward part would hide NaN."""
    torch.manual_seed(0)
    layer = nn.Sequential(ActivatedLinear(24, 40, activation)).to(torch.bfloat16)
    x = torch.randn(7, 24).bfloat16()
    wanted = layer(x).float()
    lay_out_for_gpu(layer, dtype=torch.bfloat16, kernels=None)
    assert isinstance(layer[0], EpilogueLinear) == (
        "gelu" in activation and activation not in ("gelu_10", "quick_gelu")
    )
    torch.testing.assert_close(layer(x).float(), wanted, rtol=1e-2, atol=1e-2)
    x[3] = float("nan")
    assert layer(x)[3].isnan().all() or activation in ("relu6",)


@pytest.mark.parametrize("broken", ["input", "weight"])
@torch.inference_mode()
def test_a_relu_inside_a_product_does_not_hide_nan(broken: str) -> None:
    """A feed-forward part shows it through its residual; broken weights are not fused."""
    torch.manual_seed(0)
    part = nn.Sequential(FeedForward(8, 16, "relu")).to(torch.bfloat16)
    x = torch.randn(5, 8).bfloat16()
    if broken == "input":
        x[2] = float("nan")
    else:
        part[0].inner.linear.weight[:] = float("nan")
    lay_out_for_gpu(part, dtype=torch.bfloat16, kernels=None)
    assert isinstance(part[0].inner, EpilogueLinear) == (broken == "input")
    assert part(x)[2].isnan().all()


@torch.inference_mode()
def test_projections_that_stay_in_float32_keep_their_activation() -> None:
    """As those of embeddings do in a model of 16 bits."""
    layer = nn.Sequential(ActivatedLinear(8, 8, "gelu"))
    lay_out_for_gpu(layer, dtype=torch.bfloat16, kernels=PlainSumAndNorm())
    assert isinstance(layer[0], ActivatedLinear)


def test_a_layer_norm_in_a_bottleneck_is_fused() -> None:
    """MobileBERT's with `normalization_type: layer_norm`, with and without a residual."""
    torch.manual_seed(0)
    part = nn.ModuleDict({"one": NormedLinear(8, 6, nn.LayerNorm(6, eps=1e-5))}).requires_grad_(False)
    x, residual = torch.randn(3, 8), torch.randn(3, 6)
    wanted = [part["one"](x), part["one"](x, residual)]
    lay_out_for_gpu(part, dtype=torch.float32, kernels=PlainSumAndNorm())
    assert isinstance(part["one"], SummedNorm)
    torch.testing.assert_close([part["one"](x), part["one"](x, residual)], wanted, rtol=0, atol=1e-6)


def test_norms_of_unknown_layers_stay() -> None:
    """What is no linear map of ours is left alone."""

    class Other(nn.Module):
        output = nn.Identity()

    layer = PostNormLayer(attention=Other(), feed_forward=FeedForward(4, 4, "gelu"), width=4, eps=1e-5)
    lay_out_for_gpu(layer, dtype=torch.float32, kernels=PlainSumAndNorm())
    assert isinstance(layer.attention_norm, nn.LayerNorm)
    assert isinstance(layer.feed_forward_norm, nn.Identity)


class Wrong(PlainSumAndNorm):
    """A kernel that forgets the residual."""

    def normed_sum(
        self, y_TD: torch.Tensor, bias_D: torch.Tensor, residual_TD: torch.Tensor | None, norm: Norm
    ) -> torch.Tensor:
        del residual_TD
        return super().normed_sum(y_TD, bias_D, None, norm)


class Broken(PlainSumAndNorm):
    """A kernel that does not compile."""

    def biased(self, y_TD: torch.Tensor, bias_D: torch.Tensor, *, gelu: bool) -> torch.Tensor:
        del y_TD, bias_D, gelu
        raise RuntimeError("no such instruction\nat line 3")


def test_kernels_that_fail_or_disagree_are_not_used() -> None:
    """And the reason says which it was."""
    settings: dict[str, Any] = {"dtype": torch.bfloat16, "device": torch.device("cpu")}
    kernels, reason = checked_sum_and_norm(PlainSumAndNorm(), **settings)
    assert isinstance(kernels, PlainSumAndNorm)
    assert reason == "norms: sums and norms as one Triton kernel (torch.bfloat16 on cpu)"
    none, reason = checked_sum_and_norm(Wrong(), **settings)
    assert none is None
    assert reason.startswith("norms: torch's own (the Triton kernels failed: AssertionError: ")
    none, reason = checked_sum_and_norm(Broken(), **settings)
    assert reason == "norms: torch's own (the Triton kernels failed: RuntimeError: no such instruction)"


def test_reasons_are_told() -> None:
    """Of the products and of the norms."""
    assert choose_sum_and_norm("cpu", torch.bfloat16) == (None, "norms: torch's own (torch.bfloat16 on cpu)")
    assert choose_sum_and_norm("cuda", torch.float32) == (None, "norms: torch's own (torch.float32 on cuda)")
    reason = choose_layout(nn.Sequential(), dtype=torch.float32, device_type="cpu")
    assert reason == "linear: cuBLAS (torch.float32); norms: torch's own (torch.float32 on cpu)"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_bottleneck_layer_in_three_steps_keeps_its_function(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dtype: str
) -> None:
    """MobileBERT's whole layers, with the definition in place of the kernel."""
    folder = write_checkpoint(tmp_path, "mobilebert", "base", intermediate_size=64)
    packed = PackedTokens.from_sequences(SEQUENCES)
    wanted = loading.load_model(folder, "base")(packed).last_hidden_state
    model = fused_bottlenecks(monkeypatch, folder, dtype)
    assert [type(layer) for layer in model.encoder.layers] == [FusedBottleneck] * 2
    found = model(packed).last_hidden_state.float()
    assert torch.cosine_similarity(found, wanted).min() >= 0.999
    if dtype == "float32":
        assert (found - wanted).abs().max() <= 2e-5 * wanted.abs().max()


@pytest.mark.parametrize("change", ["activation", "width", "norm", "nan"])
def test_other_bottleneck_layers_stay_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: str
) -> None:
    """Another activation, odd widths, norms that cannot be folded, and weights that a ReLU would hide."""
    sizes: dict[str, object] = {"intermediate_size": 69 if change == "width" else 64}
    if change == "activation":
        sizes["hidden_act"] = "gelu"
    write_checkpoint(tmp_path, "mobilebert", "base", **sizes)
    tensors = load_file(tmp_path / "model.safetensors")
    for name, tensor in tensors.items():
        if change == "norm" and name.endswith("layer.0.attention.output.LayerNorm.weight"):
            tensor[0] = 0.0
        if change == "nan" and name.endswith("layer.0.ffn.0.intermediate.dense.weight"):
            tensor[0] = float("nan")
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    kinds = [type(layer) for layer in fused_bottlenecks(monkeypatch, tmp_path, "bfloat16").encoder.layers]
    assert kinds == [MobileLayer, FusedBottleneck if change in ("norm", "nan") else MobileLayer]


def fused_bottlenecks(monkeypatch: pytest.MonkeyPatch, folder: Path, dtype: str) -> Model:
    def lay_out(module: nn.Module, *, dtype: torch.dtype, device: torch.device) -> str:
        return lay_out_for_gpu(
            module, dtype=dtype, kernels=PlainSumAndNorm(), rest_of_layer=plain_rest_of_layer
        )

    monkeypatch.setattr(loading, "lay_out", lay_out)
    return loading.load_model(folder, "base", dtype=dtype)


def test_a_bottleneck_kernel_that_fails_or_disagrees_is_not_used() -> None:
    """And there is none for a CPU."""
    settings: dict[str, Any] = {"dtype": torch.bfloat16, "device": torch.device("cpu")}
    assert bottleneck_disagreement(plain_rest_of_layer, **settings) is None
    wrong = bottleneck_disagreement(lambda *inputs: inputs[2], **settings)
    assert wrong is not None
    assert wrong.startswith("AssertionError: ")
    assert choose_rest_of_layer("cpu", torch.bfloat16) == (
        None,
        "bottlenecks: map by map (torch.bfloat16 on cpu)",
    )


@pytest.mark.usefixtures("no_kernels_in_c")
def test_one_product_gives_what_enters_a_bottleneck(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The kept sum, query, key and value, each with all biases: softmax would hide some of a key's."""
    folder = write_checkpoint(tmp_path, "mobilebert", "base", intermediate_size=64)
    apart = loading.load_model(folder, "base").encoder.layers[0]
    entry = fused_bottlenecks(monkeypatch, folder, "float32").encoder.layers[0].entry
    x_TD = torch.randn(7, 32, generator=torch.Generator().manual_seed(0))
    query_key_TB = apart.shared_entry(x_TD)
    attention = apart.attention
    wanted = (
        apart.entry(x_TD),
        attention.query(query_key_TB),
        attention.key(query_key_TB),
        attention.value(x_TD),
    )
    torch.testing.assert_close(entry(x_TD).chunk(4, dim=-1), wanted, rtol=1e-5, atol=1e-6)
