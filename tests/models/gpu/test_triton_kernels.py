"""The Triton kernels against their definitions: on a GPU, or on a CPU through Triton's interpreter.

torch's builds for CPUs come without Triton; then these tests are skipped. Without a GPU they also compile
every kernel for Hopper, which needs no card.
"""

import importlib
import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from corpusmill.models import PackedTokens
from corpusmill.models.gpu.mobilebert import example, plain_rest_of_layer
from corpusmill.models.gpu.records import Norm, Rows
from corpusmill.models.gpu.sum_and_norm import PlainSumAndNorm
from corpusmill.models.ops.attention import attend_each
from corpusmill.models.ops.windows import convolve_each

CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
DTYPES = [torch.float32, torch.bfloat16]
FILES = ("gpu.sum_and_norm_kernels", "gpu.window_kernels", "gpu.attention_kernels", "gpu.mobilebert_kernels")
LENGTHS = [(1,), (3, 1, 40, 2), (33, 64, 31), (5,) * 30]


# Triton reads this when it is first imported: the interpreted tests have a process of their own.
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
# The interpreter turns a loop's bounds into numbers in a way that NumPy no longer has.
OLD_NUMPY = np.lib.NumpyVersion(np.__version__) < "2.4.0"
# What NumPy says there of NaN and of infinite exponentials, a GPU does not.
QUIET = [f"-Wignore::{kind}" for kind in ("DeprecationWarning", "RuntimeWarning")]
loops = pytest.mark.skipif(
    INTERPRETED and not OLD_NUMPY, reason="Triton's interpreter needs a NumPy before 2.4 for loops"
)
on_a_device = pytest.mark.skipif(not (CUDA or INTERPRETED), reason="runs in the interpreter's process")


@pytest.fixture(scope="module")
def modules() -> Any:
    """All files of kernels."""
    return tuple(importlib.import_module(f"corpusmill.models.{name}") for name in FILES)


def near(found: torch.Tensor, wanted: torch.Tensor) -> None:
    tolerance = 1e-5 if found.dtype is torch.float32 else 2e-2
    torch.testing.assert_close(found.float(), wanted.float(), rtol=tolerance, atol=tolerance)


def random(*shape: int, dtype: torch.dtype, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE, dtype)


@on_a_device
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [8, 96, 128, 768])
@pytest.mark.parametrize("eps", [1e-12, None])
@pytest.mark.parametrize("with_residual", [True, False])
def test_sums_and_norms(
    modules: Any, dtype: torch.dtype, width: int, eps: float | None, with_residual: bool
) -> None:
    """Widths and rows that fill a program and that do not."""
    y, residual = random(7, width, dtype=dtype), random(7, width, dtype=dtype, seed=1)
    bias, weight, shift = (random(width, dtype=dtype, seed=seed) for seed in (2, 3, 4))
    given = residual if with_residual else None
    norm = Norm(weight, shift, eps)
    near(
        modules[0].TritonSumAndNorm().normed_sum(y, bias, given, norm),
        PlainSumAndNorm().normed_sum(y, bias, given, norm),
    )


@on_a_device
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 8), (700, 96)])
@pytest.mark.parametrize("gelu", [True, False])
def test_bias_and_gelu(modules: Any, dtype: torch.dtype, shape: tuple[int, int], gelu: bool) -> None:
    """In its tanh form, and without; NaN stays, and large values do."""
    y, bias = random(*shape, dtype=dtype), random(shape[1], dtype=dtype, seed=1)
    y[0, 3], y[0, 4], y[0, 5] = float("nan"), 1e4, -1e4
    wanted = PlainSumAndNorm().biased(y, bias, gelu=gelu)
    found = modules[0].TritonSumAndNorm().biased(y, bias, gelu=gelu)
    assert found[0, 3].isnan()
    near(found.nan_to_num(), wanted.nan_to_num())


@on_a_device
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("size", [3, 9])
def test_convolutions(modules: Any, dtype: torch.dtype, lengths: tuple[int, ...], size: int) -> None:
    """Sequences shorter and longer than a window and a program's tokens; also views of larger tensors."""
    packed = PackedTokens.from_sequences([[0] * n for n in lengths])
    tokens = sum(lengths)
    x, kernel = random(tokens, 2, 2, 24, dtype=dtype)[:, 1], random(tokens, 2, size, dtype=dtype, seed=1)
    wanted = convolve_each(x.float().cpu(), kernel.float().cpu(), packed)
    near(modules[1].dynamic_convolution(x, kernel, packed.to(DEVICE)).cpu(), wanted.to(dtype))
    flat, weight = x.flatten(1), random(size, 48, dtype=dtype, seed=2)
    each = weight.T[None].expand(tokens, 48, size)
    wanted = convolve_each(flat.float().cpu()[..., None], each.float().cpu(), packed)[..., 0]
    near(modules[1].depthwise_convolution(flat, weight, packed.to(DEVICE)).cpu(), wanted.to(dtype))


@on_a_device
def test_neighbours_of_nan_are_not_read(modules: Any) -> None:
    """A sequence of NaN between two others, and weights of NaN beyond a sequence's ends."""
    packed = PackedTokens.from_sequences([[0] * n for n in (4, 3, 4)]).to(DEVICE)
    x, kernel = random(11, 1, 8, dtype=torch.float32), random(11, 1, 9, dtype=torch.float32, seed=1)
    x[4:7] = float("nan")
    kernel[0, 0, :4] = float("nan")
    found = modules[1].dynamic_convolution(x, kernel, packed)
    assert found[:4].isfinite().all()
    assert found[7:].isfinite().all()
    flat = modules[1].depthwise_convolution(x[:, 0].contiguous(), kernel[1:10, 0, :8].contiguous(), packed)
    assert flat[:4].isfinite().all()
    assert flat[7:].isfinite().all()


@on_a_device
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [8, 96, 768])
@pytest.mark.parametrize("eps", [1e-12, None])
@pytest.mark.parametrize("looks_up", [True, False])
def test_embeddings(modules: Any, dtype: torch.dtype, width: int, eps: float | None, looks_up: bool) -> None:
    """Words from a table and as they are, with kinds and without; and trigrams of three sequences."""
    sums, plain = modules[0].TritonSumAndNorm(), PlainSumAndNorm()
    norm = Norm(random(width, dtype=dtype, seed=1), random(width, dtype=dtype, seed=2), eps)
    table, ids = random(40, width, dtype=dtype), torch.arange(40, device=DEVICE) * 7 % 40
    words = Rows(table, ids) if looks_up else Rows(table)
    places, kinds = Rows(random(512, width, dtype=dtype, seed=3), ids + 9), Rows(table[:2].clone(), ids % 2)
    for given in (kinds, None):
        near(sums.embedded(words, places, given, norm), plain.embedded(words, places, given, norm))
    bounds = PackedTokens.from_sequences([[0] * n for n in (1, 4, 35)]).to(DEVICE).bounds
    assert torch.equal(sums.trigrams(words, bounds), plain.trigrams(words, bounds))


@on_a_device
@loops
@pytest.mark.parametrize("lengths", [*LENGTHS, (70, 1, 128), (129, 3)])
@pytest.mark.parametrize("width", [16, 64])
def test_attention_in_tiles(modules: Any, lengths: tuple[int, ...], width: int) -> None:
    """Each tiling, from views of one tensor, with empty sequences among the others."""
    packed = PackedTokens.from_sequences([[0] * n for n in lengths]).to(DEVICE)
    q, k, v = random(sum(lengths), 3, 2, width, dtype=torch.float32).unbind(1)
    wanted = attend_each(q, k, v, packed)
    ends = packed.cu_seqlens
    for cu_seqlens in (ends, ends.repeat_interleave(2)):
        found = modules[2].attend_tiles(q, k, v, replace(packed, cu_seqlens=cu_seqlens))
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-2 if CUDA else 1e-5)


@on_a_device
@loops
def test_attention_reads_no_other_sequence(modules: Any) -> None:
    """Not even NaN between two others gets across."""
    packed = PackedTokens.from_sequences([[0] * n for n in (40, 3, 70)]).to(DEVICE)
    q, k, v = random(113, 3, 1, 16, dtype=torch.float32).unbind(1)
    for each in (q, k, v):
        each[40:43] = float("nan")
    found = modules[2].attend_tiles(q, k, v, packed)
    assert found[40:43].isnan().all()
    assert found[:40].isfinite().all()
    assert found[43:].isfinite().all()


@on_a_device
@pytest.mark.parametrize("tokens", [0, 1, 64, 100])
@pytest.mark.parametrize(("narrow", "width"), [(16, 48), (32, 64)])
def test_the_rest_of_a_bottleneck_layer(modules: Any, tokens: int, narrow: int, width: int) -> None:
    """Fewer tokens than a program takes, and more; the kept sum is a view of a wider tensor."""
    dtype = torch.bfloat16 if CUDA else torch.float32  # the interpreter's products are not for bfloat16
    device = torch.device(DEVICE)
    rest, inputs = example(dtype=dtype, device=device, narrow=narrow, width=width, tokens=tokens)
    near(modules[3].rest_of_layer(*inputs, rest), plain_rest_of_layer(*inputs, rest))


@pytest.mark.skipif(CUDA or INTERPRETED, reason="the kernels themselves run here")
def test_the_interpreter_agrees() -> None:
    """Every test above, on a CPU."""
    done = in_a_process(
        "-m", "pytest", "-q", *QUIET, "-p", "no:cacheprovider", __file__, TRITON_INTERPRET="1"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


@pytest.mark.skipif(CUDA or INTERPRETED, reason="the kernels themselves run here")
def test_every_kernel_compiles_for_hopper(tmp_path: Path) -> None:
    """The interpreter takes what the compiler does not, such as names of other modules in annotations."""
    done = in_a_process("-c", COMPILE, TRITON_CACHE_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == COMPILED


def in_a_process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
        env=os.environ | environment,
    )


COMPILED = ["normed_sum", "biased", "depthwise", "dynamic", "embedded", "trigrams", "attend", "rest_of_layer"]
COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from corpusmill.models.gpu import sum_and_norm_kernels as sums
from corpusmill.models.gpu import mobilebert_kernels as rest
from corpusmill.models.gpu import embedding_kernels as vectors
from corpusmill.models.gpu import attention_kernels as tiles
from corpusmill.models.gpu import window_kernels as windows

def compile(name, kernel, pointers, numbers, **constants):
    types = {key: "*bf16" for key in pointers} | numbers | {key: "constexpr" for key in constants}
    for key in types:
        types[key] = "*i64" if key.endswith("id_ptr") else types[key]
        types[key] = "*i32" if key in ("first_ptr", "start_ptr", "end_ptr") else types[key]
    ordered = {key: types[key] for key in kernel.arg_names}
    triton.compile(ASTSource(kernel, ordered, constexprs=constants), target=GPUTarget("cuda", 90, 32))
    print(name)

whole = {"tokens": "i32", "width": "i32"}
rows = ["y_ptr", "bias_ptr", "residual_ptr", "weight_ptr", "shift_ptr", "out_ptr"]
compile("normed_sum", sums._normed_sum, rows, whole | {"eps": "fp32"},
        HAS_RESIDUAL=True, NORMALIZES=True, ROWS=2, COLUMNS=1024)
compile("biased", sums._biased, ["y_ptr", "bias_ptr"], whole, GELU=True, ROWS=16, COLUMNS=256)
apart = ["start_ptr", "end_ptr", "out_ptr"]
compile("depthwise", windows._depthwise, ["x_ptr", "weight_ptr", *apart], whole,
        SIZE=9, TOKENS=32, FEATURES=64)
compile("dynamic", windows._dynamic, ["x_ptr", "kernel_ptr", *apart], whole | {"heads": "i32"},
        SIZE=9, TOKENS=32, FEATURES=64)

def named(kernel, ending):
    return [name for name in kernel.arg_names if name.endswith(ending) and not name.isupper()]

size = dict.fromkeys(["tokens", "width"], "i32")
compile("embedded", vectors._embedded, named(vectors._embedded, "_ptr"), size | {"eps": "fp32"},
        LOOKS_UP=True, HAS_KINDS=True, NORMALIZES=True, ROWS=2, COLUMNS=1024)
compile("trigrams", vectors._trigrams, named(vectors._trigrams, "_ptr"), size,
        LOOKS_UP=True, TOKENS=16, COLUMNS=128)
strides = dict.fromkeys(named(tiles._attend, ("_token", "_head", "heads")), "i32")
compile("attend", tiles._attend, named(tiles._attend, "_ptr"), strides | {"scale": "fp32"},
        WIDTH=64, QUERIES=64, KEYS=32)
strides = dict.fromkeys(named(rest._rest_of_layer, ("_stride", "tokens")), "i32")
compile("rest_of_layer", rest._rest_of_layer, named(rest._rest_of_layer, "_ptr"), strides,
        PARTS=4, CHUNKS=8, TOKENS=64, INNER=64, NARROW=128, WIDE=512, WIDTH=128, STAGES=3)
"""
