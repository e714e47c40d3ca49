"""What only a GPU can show: its kernels, graphs and 16 bits, for every architecture (`make test-gpu`)."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.tiny_checkpoints import write_checkpoint
from torch import Tensor

from corpusmill.models import Model, OptionError, PackedTokens, load_model
from corpusmill.models.architectures import ARCHITECTURES
from corpusmill.models.gpu.graphs import Graphs
from corpusmill.models.gpu.layout import choose_rest_of_layer, choose_sum_and_norm
from corpusmill.models.gpu.mobilebert import example, plain_rest_of_layer
from corpusmill.models.gpu.padded_encoder import PaddedEncoder
from corpusmill.models.gpu.records import Norm
from corpusmill.models.gpu.sum_and_norm import PlainSumAndNorm
from corpusmill.models.heads import HEADS
from corpusmill.models.ops.attention import attend_each, attend_runs
from corpusmill.models.ops.choose import attention_kernel, takes_empty_sequences, window_kernels
from corpusmill.models.ops.windows import convolve_each

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device"),
]
Checkpoints = Callable[[str, str], Path]
CELLS = [(name, task) for name, spec in ARCHITECTURES.items() for task in HEADS if task not in spec.lacks]
CUDA = torch.device("cuda")
NAMES = ("num_attention_heads", "intermediate_size")
LENGTHS = (1, 2, 128, 17, 76, 5, 128, 33, 64, 9)


@pytest.fixture(autouse=True)
def _whole_float32() -> Iterator[None]:
    """LinearWithoutBias of float32 in float32, not in TF32."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Checkpoints of widths that the kernels take, as those of real models are."""
    written: dict[str, Path] = {}

    def checkpoint(architecture: str) -> Path:
        if architecture not in written:
            folder = tmp_path_factory.mktemp(f"wide-{architecture}")
            names = ("n_heads", "hidden_dim") if architecture == "distilbert" else NAMES
            sizes = dict(zip(names, (4, 256), strict=True))
            written[architecture] = write_checkpoint(
                folder, architecture, "base", width=128, layers=3, **sizes
            )
        return written[architecture]

    return checkpoint


def sequences(lengths: tuple[int, ...] = LENGTHS, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(5, 400, (length,), generator=generator) for length in lengths]


def states(model: Model, ids: list[Any]) -> list[Tensor]:
    packed = PackedTokens.from_sequences(ids)
    return [part.float().cpu() for part in packed.split(model(packed).last_hidden_state)]


def apart(found: list[Tensor], wanted: list[Tensor]) -> float:
    scale = max(float(part.abs().max()) for part in wanted)
    return max(float((a - b).abs().max()) for a, b in zip(found, wanted, strict=True)) / scale


def graphs_of(model: Model) -> Graphs:
    """What a model's graphs did; a model of 16 bits has some."""
    assert isinstance(model.encoder, PaddedEncoder), model.kernel_reason
    assert isinstance(model.encoder.runner, Graphs)
    return model.encoder.runner


@pytest.mark.parametrize(("architecture", "task"), CELLS)
def test_float32_gives_what_the_cpu_gives(
    checkpoints: Checkpoints, results: Any, architecture: str, task: str
) -> None:
    """Every head, within 1e-4 of the largest value."""
    packed = PackedTokens.from_sequences(sequences())
    wanted = results(load_model(checkpoints(architecture, task), task), packed)
    model = load_model(checkpoints(architecture, task), task, device="cuda")
    for found, expected in zip(results(model, packed), wanted, strict=True):
        for name, value in expected.items():
            scale = max(part[name].abs().max() for part in wanted)
            assert (found[name].cpu() - value).abs().max() <= 1e-4 * scale


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_packed_equals_alone_in_float32(wide: Callable[[str], Path], architecture: str) -> None:
    """Within 1e-4 of the largest value."""
    model = load_model(wide(architecture), "base", device="cuda")
    alone = [states(model, [one])[0] for one in sequences()]
    assert apart(states(model, sequences()), alone) <= 1e-4


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_bfloat16_stays_close(wide: Callable[[str], Path], architecture: str) -> None:
    """To float32, by the cosine of each sequence's mean; packed, and alone."""
    exact = [part.mean(0) for part in states(load_model(wide(architecture), "base"), sequences())]
    model = load_model(wide(architecture), "base", device="cuda", dtype="bfloat16")
    for found in (states(model, sequences()), [states(model, [one])[0] for one in sequences()]):
        for part, wanted in zip(found, exact, strict=True):
            assert torch.cosine_similarity(part.mean(0), wanted, dim=0) >= 0.999


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_nan_does_not_reach_a_neighbour(
    wide: Callable[[str], Path], tmp_path: Path, architecture: str, dtype: str
) -> None:
    """Nor from the padding, whose word is NaN here too; also when a graph is replayed."""
    source = wide(architecture)
    (tmp_path / "config.json").write_bytes((source / "config.json").read_bytes())
    tensors = load_file(source / "model.safetensors")
    (words,) = (name for name in tensors if name.endswith("embeddings.word_embeddings.weight"))
    tensors[words][[0, 77]] = float("nan")
    save_file(tensors, tmp_path / "model.safetensors")
    model = load_model(tmp_path, "base", device="cuda", dtype=dtype)
    mixed = [[2, 77, 3], [2, 80, 81, 3], [2, 77, 3], [9], [77] * 40, [9] * 100]
    for _ in range(3):
        finite = [bool(part.isfinite().all()) for part in states(model, mixed)]
        assert finite == [False, True, False, True, False, True]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_replay_is_the_padded_pass_to_the_bit(wide: Callable[[str], Path], architecture: str) -> None:
    """For batches of one size and unlike sequences, one after another."""
    model = load_model(wide(architecture), "base", device="cuda", dtype="bfloat16")
    graphs = graphs_of(model)
    small = model.encoder
    assert isinstance(small, PaddedEncoder)
    for seed, lengths in enumerate([(100, 20), (1,) * 14, (64, 56), (120,), (3, 4, 5)]):
        ids = sequences(lengths, seed)
        found = states(model, ids)
        small.runner = None
        padded = states(model, ids)
        small.runner = graphs
        assert all(torch.equal(a, b) for a, b in zip(found, padded, strict=True))
    assert graphs.failure is None
    assert graphs._recorded


def test_results_are_the_callers_own(wide: Callable[[str], Path]) -> None:
    """A later replay does not write over them."""
    model = load_model(wide("bert"), "base", device="cuda", dtype="bfloat16")
    packed = PackedTokens.from_sequences(sequences((50, 50)))
    model(packed)
    first = model(packed).last_hidden_state
    kept = first.clone()
    model(PackedTokens.from_sequences(sequences((50, 50), seed=1)))
    assert torch.equal(first, kept)


def test_threads_with_streams_of_their_own_share_graphs(wide: Callable[[str], Path]) -> None:
    """As a worker's batches do, two at a time."""
    from concurrent.futures import ThreadPoolExecutor

    model = load_model(wide("mobilebert"), "base", device="cuda", dtype="bfloat16")
    every = [sequences((n, 60, 5), seed=n) for n in range(1, 60)]
    for ids in every[:2]:
        states(model, ids)
    wanted = [states(model, ids) for ids in every]
    begin = lambda: torch.cuda.set_stream(torch.cuda.Stream())  # noqa: E731
    with ThreadPoolExecutor(2, initializer=begin) as pool:
        for _ in range(3):
            for found, expected in zip(pool.map(lambda ids: states(model, ids), every), wanted, strict=True):
                assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_kernels_take_empty_sequences(dtype: torch.dtype) -> None:
    """Which padding to a fixed number of sequences needs."""
    if attention_kernel("cuda", dtype)[0] is attend_runs:
        pytest.skip(attention_kernel("cuda", dtype)[1])
    assert takes_empty_sequences(dtype, CUDA) is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("width", [24, 128, 512, 768])
def test_fused_norms_agree_with_their_definitions(dtype: torch.dtype, width: int) -> None:
    """More rows than one program takes; with a residual and without, normalizing and only scaling."""
    kernels, reason = choose_sum_and_norm("cuda", dtype)
    if kernels is None:
        pytest.skip(reason)
    torch.manual_seed(0)
    y, residual = (torch.randn(1001, width, device=CUDA, dtype=dtype) for _ in range(2))
    bias, weight, shift = (torch.randn(width, device=CUDA, dtype=dtype) for _ in range(3))
    for norm in (Norm(weight, shift, 1e-12), Norm(weight, shift, None)):
        for given in (residual, None):
            found, wanted = (each.normed_sum(y, bias, given, norm) for each in (kernels, PlainSumAndNorm()))
            torch.testing.assert_close(found, wanted, rtol=2e-2, atol=2e-2)
    for gelu in (True, False):
        wanted = PlainSumAndNorm().biased(y, bias, gelu=gelu)
        torch.testing.assert_close(kernels.biased(y.clone(), bias, gelu=gelu), wanted, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("heads", "width"), [(12, 64), (4, 32), (3, 24), (1, 128)])
@pytest.mark.parametrize("lengths", [(1, 2, 30), (128, 3, 64, 65), (512, 1, 129), (33,) * 50])
def test_attention_agrees_with_its_definition(
    dtype: torch.dtype, heads: int, width: int, lengths: tuple[int, ...]
) -> None:
    """Each tiling, heads that tiles take and heads that they do not, from views of one tensor."""
    torch.manual_seed(0)
    packed = PackedTokens.from_sequences([[0] * length for length in lengths]).to(CUDA)
    parts = torch.randn(sum(lengths), 3, heads, width, device=CUDA, dtype=dtype).unbind(1)
    found = attention_kernel("cuda", dtype)[0](*parts, packed)
    wanted = attend_each(*(part.float() for part in parts), packed)
    torch.testing.assert_close(found.float(), wanted, rtol=2e-2, atol=2e-2)


def test_attention_takes_many_short_sequences() -> None:
    """More tiles than a grid's second dimension may have programs."""
    packed = PackedTokens.from_flat(np.zeros(70_000, np.int64), np.ones(70_000, np.int64)).to(CUDA)
    parts = torch.randn(70_000, 3, 2, 32, device=CUDA, dtype=torch.bfloat16).unbind(1)
    assert torch.equal(attention_kernel("cuda", torch.bfloat16)[0](*parts, packed), parts[2])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("tokens", [1, 64, 1000])
def test_the_rest_of_a_bottleneck_layer_agrees_with_its_definition(dtype: torch.dtype, tokens: int) -> None:
    """At MobileBERT's widths, and for fewer tokens than a program takes."""
    kernel, reason = choose_rest_of_layer("cuda", dtype)
    if kernel is None:
        pytest.skip(reason)
    rest, inputs = example(dtype=dtype, device=CUDA, narrow=128, width=512, tokens=tokens)
    found, wanted = (each(*inputs, rest).float() for each in (kernel, plain_rest_of_layer))
    assert (found - wanted).abs().max() <= 2e-2 * wanted.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_window_kernels_agree_with_their_definition(dtype: torch.dtype) -> None:
    """Whichever this machine has, at ConvBERT's sizes."""
    torch.manual_seed(0)
    packed = PackedTokens.from_sequences(sequences((1, 300, 4, 9, 8, 512)))
    tokens = len(packed.input_ids)
    x, kernel = torch.randn(tokens, 6, 64), torch.randn(tokens, 6, 9).softmax(-1)
    wanted = convolve_each(x.to(dtype).float(), kernel.to(dtype).float(), packed)
    there = (part.to(CUDA, dtype) for part in (x, kernel))
    found = window_kernels("cuda")[0].dynamic(*there, packed.to(CUDA)).float().cpu()
    tolerance = 1e-5 if dtype is torch.float32 else 2e-2
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)


def test_reasons_name_the_kernels_of_this_machine(wide: Callable[[str], Path]) -> None:
    """Each choice once, and float16 is refused for MobileBERT here too."""
    for name, special in (("convbert", "windows"), ("mobilebert", "bottlenecks"), ("bert", None)):
        reason = load_model(wide(name), "base", device="cuda", dtype="bfloat16").kernel_reason
        kinds = {part.partition(":")[0] for part in reason.split("; ")}
        assert kinds == {"linear", "norms", "attention", "graphs", special} - {None}
    with pytest.raises(OptionError, match="float16 is refused for mobilebert"):
        load_model(wide("mobilebert"), "base", device="cuda", dtype="float16")
