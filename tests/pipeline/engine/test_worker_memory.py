"""What a worker's process holds beside its weights: no copies of them, and no modules that it has no use for.

Each process is a new one: what counts is what it begins with.
"""

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.laid_out import text_block, tokenized
from support.tiny_checkpoints import write_checkpoint

from corpusmill.jobs import model_spec
from corpusmill.models.cpu.int8 import has_int8_products
from corpusmill.pipeline.blocks import pack_block

WIDTH, LAYERS = 512, 16
MAPS = LAYERS * (4 * WIDTH * WIDTH + 2 * WIDTH * (2 * WIDTH + 8))
"""Weights of the linear maps; all others together are a tenth of a megabyte."""
BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}
BESIDE = 40.0
"""Megabytes for what torch and Arrow take when they are first used, and for what cannot be handed back."""
UNNEEDED = ("pandas", "scipy", "sympy", "torch._dynamo", "torch._inductor", "transformers")

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")

WORKER = f"""
import json, pickle, sys
from corpusmill.pipeline.engine.workers import EncodeWorker
from corpusmill.pipeline.machine import keep_memory
keep_memory()
import corpusmill.pipeline.encode.encoder, torch

def megabytes(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1000 for line in file if line.startswith(field))

def of_file(name):
    found, total = False, 0
    for line in open("/proc/self/smaps"):
        first, *rest = line.split()
        if not first.endswith(":"):
            found = bool(rest[4:]) and rest[4].endswith(name)
        elif found and first == "Rss:":
            total += int(rest[0])
    return total / 1000

with open(sys.argv[1], "rb") as file:
    spec, row, rows = pickle.load(file)
before = megabytes("RssAnon")
worker = EncodeWorker(spec)
loaded = megabytes("RssAnon") - before
columns, stats = worker.encode(row, 0, rows)
assert columns.num_rows == rows
there = [name for name in {UNNEEDED} if name in sys.modules]
print(json.dumps({{"loaded": loaded, "mapped": of_file("model.safetensors"), "modules": there}}))
"""


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of some 130 MB, nearly all of it in linear maps."""
    folder = tmp_path_factory.mktemp("wide")
    sizes: dict[str, Any] = {"width": WIDTH, "layers": LAYERS, "hidden_dim": 2 * WIDTH + 8}
    return write_checkpoint(folder, "distilbert", "base", **sizes)


@pytest.fixture
def started(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Load a model in a separate process, encode a few texts, and return the memory in use afterwards."""

    def start(folder: Path, dtype: str) -> dict[str, Any]:
        spec = model_spec(str(folder), task="embedding", dtype=dtype, allow_int8=dtype == "int8")
        texts = ["the old house by the river", None, "water"]
        row = pack_block(tokenized(text_block(texts), spec.tokenizer))
        (tmp_path / "work").write_bytes(pickle.dumps((spec, row, len(texts))))
        done = subprocess.run(
            [sys.executable, "-c", WORKER, str(tmp_path / "work")],
            capture_output=True,
            text=True,
            check=True,
        )
        held: dict[str, Any] = json.loads(done.stdout)
        return held

    return start


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize("dtype", BYTES)
def test_weights_are_held_once(wide: Path, started: Callable[..., dict[str, Any]], dtype: str) -> None:
    """Neither the checkpoint's own stay, beside those that were laid out of them, nor what lay between."""
    if dtype == "int8" and not has_int8_products():
        pytest.skip("needs a CPU with VNNI instructions")
    held = started(wide, dtype)
    assert held["loaded"] < BYTES[dtype] * MAPS / 1e6 + BESIDE
    assert held["mapped"] < BESIDE


@pytest.mark.slow
@needs_proc
def test_a_worker_imports_nothing_that_it_has_no_use_for(
    checkpoints: dict[str, Path], started: Callable[..., dict[str, Any]]
) -> None:
    """Torch's compiler would be 75 MB, and pandas, which Arrow brings, 28."""
    assert started(checkpoints["embedder"], "float32")["modules"] == []
