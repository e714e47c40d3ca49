"""The kernels in C against what torch computes in float64, and what they may read and write."""

import ctypes
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
import torch.nn.functional as F
from support.tiny_checkpoints import write_checkpoint
from torch import Tensor, nn

from corpusmill.models import PackedTokens, load_model
from corpusmill.models.cpu import int8
from corpusmill.models.cpu.layout import lay_out, quantize_layers
from corpusmill.models.cpu.native import bindings
from corpusmill.models.cpu.native.bindings import LINEAR_FLOAT32, LINEAR_INT8, SWITCH, library
from corpusmill.models.cpu.native.bottleneck import NativeMobileLayer
from corpusmill.models.cpu.native.layers import NativePostNormLayer
from corpusmill.models.cpu.native.maps import ACTIVATIONS, NativeMap, native_map
from corpusmill.models.cpu.native.program import Program
from corpusmill.models.errors import InputError
from corpusmill.models.gpu.records import Norm
from corpusmill.models.layers.blocks import (
    ActivatedLinear,
    FeedForward,
    GroupedLinear,
    PostNormLayer,
    Projections,
    SelfAttention,
)
from corpusmill.models.layers.fused_qkv import fuse_qkv
from corpusmill.models.ops.attention import attend_each, attend_in_c
from corpusmill.models.ops.choose import attention_kernel
from corpusmill.models.ops.native_attention import attend_native

needs_kernels = pytest.mark.skipif(library()[0] is None, reason=library()[1])
CPU = torch.device("cpu")
NUMBERS = [torch.float32, torch.bfloat16]
GUARD = 3.0e38
# What rounding a row's products may change, by the size of the results.
TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 8e-3}


@pytest.fixture(autouse=True, params=[1, 2])
def _threads(request: pytest.FixtureRequest, _one_thread: None) -> Iterator[None]:
    """One thread runs whole blocks, two share smaller ones at the end."""
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(1)


@contextmanager
def case(**values: object) -> Iterator[None]:
    """Name the case of a table in which an assertion failed."""
    try:
        yield
    except AssertionError as error:
        error.add_note(f"in the case {values}")
        raise


def guarded(rows: int, width: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Rows of a matrix with guards on all sides, and the whole."""
    whole = torch.full((rows + 2, width + 40), GUARD, dtype=dtype)
    return whole[1:-1, 20 : 20 + width], whole


def assert_untouched(whole: Tensor) -> None:
    """Nothing was written beside the rows."""
    inside = torch.zeros(whole.shape, dtype=torch.bool)
    inside[1:-1, 20:-20] = True
    assert (whole[~inside] == torch.full((), GUARD, dtype=whole.dtype)).all()


def assert_near(ours: Tensor, wanted: Tensor, dtype: torch.dtype, *, times: float = 1.0) -> None:
    assert ours.shape == wanted.shape
    worst = float((ours.double() - wanted.double()).abs().max())
    assert worst <= times * TOLERANCE[dtype] * float(wanted.abs().max())


OUTPUTS = (1, 15, 16, 17, 48, 49, 63, 64, 65, 100, 128, 191)
ROWS = (1, 5, 6, 7, 96, 97, 500)
"""Widths and numbers of rows that fill no panel, no tile and no block, and that do."""


@needs_kernels
@pytest.mark.parametrize("dtype", NUMBERS)
@torch.inference_mode()
def test_a_map_writes_its_rows_and_nothing_else(dtype: torch.dtype) -> None:
    """For every width and number of rows, with a residual or not."""
    for outputs, rows in itertools.product(OUTPUTS, ROWS):
        torch.manual_seed(0)
        linear = nn.Linear(40, outputs, dtype=dtype)
        weight = native_map(linear)
        assert weight is not None
        x, _ = guarded(rows, 40, dtype)
        x.normal_()
        added, _ = guarded(rows, outputs, dtype)
        added.normal_()
        product = x.double() @ linear.weight.double().T + linear.bias.double()
        for residual, wanted in ((None, product), (added, product + added.double())):
            program = Program()
            source, target = program.outer(dtype, 40), program.outer(dtype, outputs)
            more = None if residual is None else program.outer(dtype, outputs)
            weight.add_to(program, source, target, residual=more)
            y, whole = guarded(rows, outputs, dtype)
            program.run(x, y, *(() if residual is None else (residual,)))
            with case(outputs=outputs, rows=rows, residual=residual is not None):
                assert_near(y, wanted, dtype)
                assert_untouched(whole)


@needs_kernels
@pytest.mark.parametrize("dtype", [*NUMBERS, torch.int8])
@torch.inference_mode()
def test_many_inputs_are_added_up_in_parts(dtype: torch.dtype) -> None:
    """More than are multiplied at once, by two and a bit."""
    torch.manual_seed(0)
    number = torch.float32 if dtype is torch.int8 else dtype
    linear = nn.Linear(7000, 70, dtype=number)
    ours = native_map(linear, int8=dtype is torch.int8)
    assert ours is not None
    x = torch.randn(20, 7000).to(number)
    wanted = x.double() @ linear.weight.double().T + linear.bias.double()
    worst = float((ours(x).double() - wanted).abs().max() / wanted.abs().max())
    assert worst <= {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.int8: 0.05}[dtype]


@needs_kernels
@pytest.mark.parametrize("dtype", NUMBERS)
@torch.inference_mode()
def test_an_activated_map_keeps_its_function(dtype: torch.dtype) -> None:
    """Every activation from far below zero to far above, and NaN and infinity as torch has them."""
    for activation, bias in itertools.product(ACTIVATIONS, (True, False)):
        torch.manual_seed(0)
        layer = ActivatedLinear(2, 70, activation, bias=bias).to(dtype)
        layer.linear.weight.zero_()
        layer.linear.weight[:, 0] = 1
        if bias:
            layer.linear.bias.zero_()
        x = torch.zeros(4001, 2, dtype=dtype)
        x[:, 0] = torch.linspace(-40, 40, 4001)
        ours = native_map(layer)
        assert ours is not None
        wanted = layer.activation(x[:, :1].double()).expand(-1, 70)
        worst = (ours(x).double() - wanted).abs()
        with case(activation=activation, bias=bias):
            assert float(worst.max()) <= (3e-6 if dtype is torch.float32 else 0.13)
            assert float(worst[x[:, 0].abs() <= 4].max()) <= (3e-7 if dtype is torch.float32 else 8e-3)
            assert ours(torch.full((3, 2), float("nan"), dtype=dtype)).isnan().all()


@needs_kernels
@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("width", [1, 16, 40, 768])
@pytest.mark.parametrize("eps", [1e-12, None])
@torch.inference_mode()
def test_a_norm_is_torchs(dtype: torch.dtype, width: int, eps: float | None) -> None:
    """Over rows far from zero too; the sum's mean is taken away before squares are."""
    torch.manual_seed(0)
    norm = Norm(torch.randn(width), torch.randn(width), eps)
    x, _ = guarded(77, width, torch.float32)
    x.normal_(mean=30)
    program = Program()
    source, target = program.outer(torch.float32, width), program.outer(dtype, width)
    program.norm(norm, source, target)
    y, whole = guarded(77, width, dtype)
    program.run(x, y)
    wide = Norm(norm.weight.double(), norm.bias.double(), eps)
    weight, bias = wide.weight, wide.bias
    wanted = x.double() * weight + bias
    if eps is not None:
        wanted = F.layer_norm(x.double(), (width,), weight, bias, eps)
    assert_near(y, wanted, dtype, times=20 if eps and dtype is torch.float32 else 1)
    assert_untouched(whole)


@needs_kernels
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("residual", [None, *NUMBERS])
@pytest.mark.parametrize("number", NUMBERS)
@torch.inference_mode()
def test_bytes_are_near_and_each_token_by_itself(
    groups: int, residual: torch.dtype | None, number: torch.dtype
) -> None:
    """255 steps on either side leave about 1 %; a neighbour changes no bit, nor does the place in a batch."""
    torch.manual_seed(0)
    layer = ActivatedLinear(4 * 96, 4 * 80, "gelu", groups=groups)
    for parameter in layer.parameters():
        parameter.normal_(std=0.05)
    ours = native_map(layer, int8=True)
    assert ours is not None
    x = (torch.randn(200, 4 * 96) + torch.randn(200, 1)).to(number)
    added = None if residual is None else torch.randn(200, 4 * 80).to(residual)
    wanted = layer(x.float()) + (0 if added is None else added)
    together = ours(x, added)
    assert together.dtype == torch.float32
    assert float(torch.linalg.norm(together - wanted) / torch.linalg.norm(wanted)) < 0.02
    alone = torch.cat([ours(x[i : i + 1], None if added is None else added[i : i + 1]) for i in range(200)])
    assert torch.equal(together, alone)
    x[7] *= 1e6
    others = torch.arange(200) != 7
    assert torch.equal(ours(x, added)[others], alone[others])


@needs_kernels
@torch.inference_mode()
def test_bytes_of_equal_values_are_exact_and_broken_rows_are_nan() -> None:
    """A row without a range has no steps, only an offset; NaN and infinity do not get lost in integers."""
    torch.manual_seed(0)
    linear = nn.Linear(96, 128)
    ours = native_map(linear, int8=True)
    assert ours is not None
    x = torch.tensor([[0.0], [5.0], [-3.0]]).expand(3, 96).contiguous()
    weight = int8.quantize(linear.weight)
    wanted = F.linear(x, weight.values * weight.scale, linear.bias)
    torch.testing.assert_close(ours(x), wanted, rtol=0, atol=1e-4)
    for broken in (torch.nan, torch.inf, -torch.inf):
        x[1, 3] = broken
        y = ours(x)
        assert y[1].isnan().all()
        assert y[[0, 2]].isfinite().all()


HEAD_WIDTHS = (8, 16, 20, 32, 64, 80, 136)
LENGTHS = ([1], [1, 2, 3, 5, 17], [33, 64, 65], [130, 1, 512])


@needs_kernels
@pytest.mark.parametrize("dtype", NUMBERS)
@torch.inference_mode()
def test_attention_is_the_definition_for_each_sequence(dtype: torch.dtype) -> None:
    """Whatever the width of heads and however they lie; each sequence as it is alone, to the bit."""
    for width, lengths in itertools.product(HEAD_WIDTHS, LENGTHS):
        torch.manual_seed(0)
        packed = packed_of(*lengths)
        joint, whole = guarded(sum(lengths), 3 * 3 * width, dtype)
        joint.normal_()
        q, k, v = (part.unflatten(1, (3, width)) for part in joint.chunk(3, dim=1))
        ours = attend_native(q, k, v, packed)
        wanted = attend_each(*(part.double() for part in (q, k, v)), packed)
        alone = [
            attend_native(*each, packed_of(len(each[0])))
            for each in zip(*map(packed.split, (q, k, v)), strict=True)
        ]
        mixed = torch.stack([q, k, v], dim=3).unbind(3)  # no head's numbers lie side by side
        with case(width=width, lengths=lengths):
            assert_near(ours, wanted, dtype, times=2)
            assert torch.equal(torch.cat(alone), ours)
            assert torch.equal(attend_native(*mixed, packed), ours)
            assert_untouched(whole)


@needs_kernels
@pytest.mark.parametrize("dtype", NUMBERS)
@torch.inference_mode()
def test_attention_of_broken_and_of_large_numbers(dtype: torch.dtype) -> None:
    """NaN stays in its sequence and head, and reaches all that attend to it; large scores do not overflow."""
    torch.manual_seed(0)
    packed = PackedTokens.from_sequences([[1] * 30, [1] * 20, [1] * 30])
    q, k, v = (torch.randn(80, 2, 16).to(dtype) for _ in range(3))
    wanted = attend_native(q, k, v, packed)
    for broken in (q, k, v):
        kept = broken[40, 1, 3].clone()
        broken[40, 1, 3] = torch.nan
        ours = attend_native(q, k, v, packed)
        assert torch.equal(ours[:30], wanted[:30])
        assert torch.equal(ours[50:], wanted[50:])
        assert torch.equal(ours[:, 0], wanted[:, 0])
        assert ours[40, 1].isnan().any()
        if broken is k:
            assert ours[30:50, 1].isnan().all()
        broken[40, 1, 3] = kept
    large = attend_native(q * 1000, k, v, packed)
    # Scores of thousands are rounded to a few 1e-4 in float32.
    assert_near(large, attend_each((q * 1000).double(), k.double(), v.double(), packed), dtype, times=50)


class Layer(nn.Module):
    """A layer where `lay_out` finds it."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList([layer])


def post_norm_layer(groups: int = 1, activation: str = "gelu") -> PostNormLayer:
    torch.manual_seed(0)
    layer = PostNormLayer(
        attention=SelfAttention(128, 4, groups=(groups,) * 3 + (1,)),
        feed_forward=FeedForward(128, 256, activation, groups=(groups, groups)),
        width=128,
        eps=1e-12,
    )
    for parameter in layer.parameters():
        parameter.requires_grad_(False).normal_(std=0.1)
    return layer


@needs_kernels
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
@torch.inference_mode()
def test_a_layer_is_one_program_after_attention(groups: int, dtype: str) -> None:
    """And gives what its parts give; a token alone gets the same bits as among others."""
    exact = post_norm_layer(groups)
    number = torch.bfloat16 if dtype == "bfloat16" else torch.float32
    ours = Layer(post_norm_layer(groups).to(number))
    if dtype == "int8":
        quantize_layers(ours, attention=torch.bfloat16)
    lay_out(ours, dtype=number, device=CPU)
    layer = ours.layers[0]
    assert isinstance(layer, NativePostNormLayer)
    packed = PackedTokens.from_sequences([[1] * 9, [1] * 200, [1]])
    x = torch.randn(210, 128).to(number)
    y, wanted = layer(x, packed), exact(x.float(), packed)
    assert float(torch.linalg.norm(y.float() - wanted) / torch.linalg.norm(wanted)) < (
        1e-6 if dtype == "float32" else 0.02
    )
    assert torch.equal(layer(x[:9], PackedTokens.from_sequences([[1] * 9])), y[:9])
    assert torch.equal(layer(x[209:], PackedTokens.from_sequences([[1]])), y[209:])


@needs_kernels
@pytest.mark.parametrize("part", ["attention.output", "feed_forward.inner", "feed_forward.outer"])
@torch.inference_mode()
def test_a_layer_of_mixed_precision(part: str) -> None:
    """A map whose weights would lose too much in 8 bits stays in float32, between maps of bytes."""
    exact = post_norm_layer()
    linear = exact.get_submodule(part)
    linear = linear.linear if isinstance(linear, ActivatedLinear) else linear
    assert isinstance(linear, nn.Linear)
    linear.weight[:, 0] = 10
    ours = Layer(exact)
    wanted = exact(torch.randn(30, 128, generator=torch.Generator().manual_seed(1)), packed_of(30))
    quantize_layers(ours, attention=torch.bfloat16)
    lay_out(ours, dtype=torch.float32, device=CPU)
    maps = [module for module in ours.modules() if isinstance(module, NativeMap)]
    assert sorted(group.kind for each in maps for group in each.groups) == [
        LINEAR_FLOAT32,
        *[LINEAR_INT8] * 3,
    ]
    x = torch.randn(30, 128, generator=torch.Generator().manual_seed(1))
    y = ours.layers[0](x, packed_of(30))
    assert float(torch.linalg.norm(y - wanted) / torch.linalg.norm(wanted)) < 0.03


def packed_of(*lengths: int) -> PackedTokens:
    return PackedTokens.from_sequences([[1] * length for length in lengths])


@needs_kernels
@torch.inference_mode()
def test_what_the_kernels_do_not_have_stays_apart() -> None:
    """Another activation leaves the layer in parts, an odd number of inputs its map to oneDNN."""
    other = Layer(post_norm_layer(activation="tanh"))
    wanted = post_norm_layer(activation="tanh")(torch.ones(5, 128), packed_of(5))
    lay_out(other, dtype=torch.float32, device=CPU)
    assert isinstance(other.layers[0], PostNormLayer)
    torch.testing.assert_close(other.layers[0](torch.ones(5, 128), packed_of(5)), wanted, rtol=0, atol=1e-5)
    odd = nn.Sequential(nn.Linear(37, 24, dtype=torch.bfloat16))
    assert native_map(odd[0]) is None
    x = torch.randn(3, 37).bfloat16()
    wanted = odd(x)
    lay_out(odd, dtype=torch.bfloat16, device=CPU)
    assert not isinstance(odd[0], NativeMap)
    torch.testing.assert_close(odd(x), wanted, rtol=0, atol=2e-2)


@needs_kernels
@torch.inference_mode()
def test_groups_and_joined_projections_are_single_maps() -> None:
    """A group's columns go where they belong, and three maps of one input are one."""
    torch.manual_seed(0)
    grouped = GroupedLinear(24, 40, 4).requires_grad_(False)
    grouped.weight.normal_()
    grouped.bias.normal_()
    x = torch.randn(11, 24)
    ours = native_map(grouped)
    assert ours is not None
    torch.testing.assert_close(ours(x), grouped(x), rtol=0, atol=1e-5)
    three = Projections(24, 16)
    one = fuse_qkv(three)
    assert one is not None
    assert isinstance(native_map(one.fused), NativeMap)
    for part, wanted in zip(one(x), three(x), strict=True):
        torch.testing.assert_close(part, wanted, rtol=0, atol=1e-6)


@needs_kernels
@pytest.mark.parametrize("norm", ["no_norm", "layer_norm"])
@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh"])
def test_a_bottleneck_is_two_programs(
    request: pytest.FixtureRequest, tmp_path: Path, norm: str, activation: str
) -> None:
    """Whatever its norms are, where its activation is the kernels'; and gives what its parts give."""
    folder = write_checkpoint(tmp_path, "mobilebert", "base", hidden_act=activation, normalization_type=norm)
    model = load_model(folder)
    fused = [isinstance(layer, NativeMobileLayer) for layer in model.encoder.layers]
    assert fused == [activation != "tanh"] * len(fused)
    packed = packed_of(9, 70, 1)
    states = model(packed).last_hidden_state
    request.getfixturevalue("no_kernels_in_c")
    wanted = load_model(folder)(packed).last_hidden_state
    assert float(torch.linalg.norm(states - wanted) / torch.linalg.norm(wanted)) < 1e-5


@needs_kernels
def test_rows_that_do_not_fit_are_refused() -> None:
    """The kernels would read and write beside them."""
    weight = native_map(nn.Linear(8, 8))
    assert weight is not None
    program = Program()
    weight.add_to(program, program.outer(torch.float32, 8), program.outer(torch.float32, 8))
    right = torch.zeros(3, 8)
    for wrong in (torch.zeros(2, 8), torch.zeros(3, 7), torch.zeros(3, 8).bfloat16(), torch.zeros(8, 3).T):
        with pytest.raises(InputError, match="rows: expected"):
            program.run(right, wrong)
    with pytest.raises(ValueError, match="shorter"):
        program.run(right)


@needs_kernels
@pytest.mark.parametrize(
    ("architecture", "dtype"),
    [
        (architecture, dtype)
        for architecture in ("bert", "convbert", "distilbert", "mobilebert", "squeezebert")
        for dtype in ("float32", "bfloat16", "int8")
        if (architecture, dtype) != ("mobilebert", "int8")
    ],
)
def test_packed_is_alone_to_the_bit(
    monkeypatch: pytest.MonkeyPatch, checkpoints: Callable[[str, str], Path], architecture: str, dtype: str
) -> None:
    """Whatever the batch: a row's results are one chain of operations in one order."""
    monkeypatch.setattr(int8, "NARROWEST", 8)
    model = load_model(checkpoints(architecture, "base"), dtype=dtype)
    sequences = [[2, 40, 3], [2, *range(100, 225), 3], [5], [2, 9, 9, 3], [2, *range(100, 199), 3]] * 3
    packed = PackedTokens.from_sequences(sequences)
    for states, ids in zip(packed.split(model(packed).last_hidden_state), sequences, strict=True):
        assert torch.equal(model(PackedTokens.from_sequences([ids])).last_hidden_state, states)


@needs_kernels
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_a_model_says_what_it_runs_on(checkpoints: Callable[[str, str], Path], dtype: str) -> None:
    """Kernels in C, and none of oneDNN's layers."""
    model = load_model(checkpoints("bert", "base"), dtype=dtype)
    assert "AVX-512 kernels" in model.kernel_reason
    assert "oneDNN" not in model.kernel_reason
    number = torch.bfloat16 if dtype == "bfloat16" else torch.float32
    assert attention_kernel("cpu", number)[0] is attend_in_c


@pytest.mark.usefixtures("no_kernels_in_c")
def test_without_the_kernels_the_reason_is_told(checkpoints: Callable[[str, str], Path]) -> None:
    """A slower run has a cause that can be read."""
    assert f"no kernels in C: {SWITCH}=0 is set" in load_model(checkpoints("bert", "base")).kernel_reason


@pytest.mark.parametrize("file", ["none", "broken", "another", "unsupported", "older"])
def test_a_library_that_cannot_be_used_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: str
) -> None:
    """Not compiled, not a library, one of something else, for another CPU, or with other structures."""
    library_file = tmp_path / "_kernels.abi3.so"
    if file == "broken":
        library_file.write_bytes(b"no library")
    if file == "another":
        library_file.symlink_to(Path(torch.__file__).with_name("lib") / "libc10.so")
    if file in ("unsupported", "older"):
        library_file.touch()
        real, fake = library()[0], Mock()
        if real is None:
            pytest.skip(library()[1])
        fake.corpusmill_supported.return_value = int(file != "unsupported")
        fake.corpusmill_sizes.return_value = real.corpusmill_sizes() + (file == "older")
        monkeypatch.setattr(ctypes, "CDLL", lambda _: fake)
    monkeypatch.setattr(bindings, "__file__", str(tmp_path / "bindings.py"))
    loaded, reason = bindings.library.__wrapped__()
    assert loaded is None
    wanted = {"none": "not compiled", "unsupported": "this CPU lacks AVX-512", "older": "another version"}
    assert wanted.get(file, "they cannot be loaded") in reason


@needs_kernels
def test_no_memory_is_an_error_of_python() -> None:
    """Not a crash: a block of rows too wide for any machine."""
    weight = native_map(nn.Linear(8, 8))
    assert weight is not None
    program = Program()
    source, target = program.outer(torch.float32, 8), program.outer(torch.float32, 8)
    program.inner(torch.float32, 2**31 - 1)
    for _ in range(8):
        program.inner(torch.float32, 2**31 - 1)
    weight.add_to(program, source, target)
    with pytest.raises(MemoryError, match="no memory for a block of rows"):
        program.run(torch.zeros(3, 8), torch.zeros(3, 8))


@pytest.mark.parametrize("able", [True, False])
def test_who_could_have_the_kernels_is_told(monkeypatch: pytest.MonkeyPatch, able: bool) -> None:
    """And nobody whose CPU lacks what they need, or who has them."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: able)
    if library()[0] is not None:
        assert bindings.advice() is None
    monkeypatch.setattr(bindings, "library", lambda: (None, bindings.NOT_COMPILED))
    told = bindings.advice()
    assert (told is not None) == able
    assert told is None or "install gcc" in told
