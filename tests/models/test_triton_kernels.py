"""The Triton kernels against their definitions: on a GPU, or on a CPU through Triton's interpreter.

torch's builds for CPUs come without Triton; then these tests are skipped. Without a GPU they also compile
every kernel for Hopper, which needs no card.
"""

import importlib
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from corpusmill.models import PackedTokens
from corpusmill.models.fused import Norm, Plain
from corpusmill.models.ops.windows import convolve_each

CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
DTYPES = [torch.float32, torch.bfloat16]
LENGTHS = [(1,), (3, 1, 40, 2), (33, 64, 31), (5,) * 30]


# Triton reads this when it is first imported: the interpreted tests have a process of their own.
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
on_a_device = pytest.mark.skipif(not (CUDA or INTERPRETED), reason="runs in the interpreter's process")


@pytest.fixture(scope="module")
def modules() -> Any:
    """Both files of kernels."""
    names = ("corpusmill.models.triton_sums", "corpusmill.models.ops.window_kernels")
    return tuple(importlib.import_module(name) for name in names)


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
    near(modules[0].TritonSums().normed_sum(y, bias, given, norm), Plain().normed_sum(y, bias, given, norm))


@on_a_device
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 8), (700, 96)])
def test_bias_and_gelu(modules: Any, dtype: torch.dtype, shape: tuple[int, int]) -> None:
    """By the error function; NaN stays."""
    y, bias = random(*shape, dtype=dtype), random(shape[1], dtype=dtype, seed=1)
    y[0, 3] = float("nan")
    wanted = Plain().biased_gelu(y, bias)
    found = modules[0].TritonSums().biased_gelu(y, bias)
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


@pytest.mark.skipif(CUDA or INTERPRETED, reason="the kernels themselves run here")
def test_the_interpreter_agrees() -> None:
    """Every test above, on a CPU."""
    done = in_a_process("-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, TRITON_INTERPRET="1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


@pytest.mark.skipif(CUDA or INTERPRETED, reason="the kernels themselves run here")
def test_every_kernel_compiles_for_hopper(tmp_path: Path) -> None:
    """The interpreter takes what the compiler does not, such as names of other modules in annotations."""
    done = in_a_process("-c", COMPILE, TRITON_CACHE_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["normed_sum", "biased_gelu", "depthwise", "dynamic"]


def in_a_process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        env=os.environ | environment,
    )


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from corpusmill.models import triton_sums as sums
from corpusmill.models.ops import window_kernels as windows

def compile(name, kernel, pointers, numbers, **constants):
    types = {key: "*bf16" for key in pointers} | numbers | {key: "constexpr" for key in constants}
    for key in ("start_ptr", "end_ptr"):
        types |= {key: "*i32"} if key in types else {}
    ordered = {key: types[key] for key in kernel.arg_names}
    triton.compile(ASTSource(kernel, ordered, constexprs=constants), target=GPUTarget("cuda", 90, 32))
    print(name)

whole = {"tokens": "i32", "width": "i32"}
rows = ["y_ptr", "bias_ptr", "residual_ptr", "weight_ptr", "shift_ptr", "out_ptr"]
compile("normed_sum", sums._normed_sum, rows, whole | {"eps": "fp32"},
        HAS_RESIDUAL=True, NORMALIZES=True, ROWS=2, COLUMNS=1024)
compile("biased_gelu", sums._biased_gelu, ["y_ptr", "bias_ptr"], {"size": "i32", "width": "i32"}, BLOCK=2048)
apart = ["start_ptr", "end_ptr", "out_ptr"]
compile("depthwise", windows._depthwise, ["x_ptr", "weight_ptr", *apart], whole,
        SIZE=9, TOKENS=32, FEATURES=64)
compile("dynamic", windows._dynamic, ["x_ptr", "kernel_ptr", *apart], whole | {"heads": "i32"},
        SIZE=9, TOKENS=32, FEATURES=64)
"""
