"""The GPU script on a CPU: it needs no installed package and writes its results after each section."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpusmill.models import Model, load_model
from corpusmill.models.gpu.padded_encoder import PaddedEncoder
from on_gpu import exactness, kernels
from on_gpu.report import page
from on_gpu.workload import (
    LONGEST,
    MEAN,
    MEDIAN,
    SHORTEST,
    draw_corpus,
    draw_lengths,
    padded_batches,
    write_checkpoint,
)

ROOT = Path(__file__).parents[2]
SECTIONS = {"machine", "limits", "workload", "kernels"}
BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pyarrow", "ray", "pydantic", "fsspec"):
            raise ImportError(f"{name} is not on this machine")
sys.meta_path.insert(0, Blocked())
import atexit, runpy
atexit.register(lambda: print("models from", sys.modules["corpusmill.models"].__file__))
"""


def run(
    output: Path, *options: str, bare: bool = False
) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """Run the script on this CPU at a small width; `bare` hides most other packages."""
    settings = [
        "--device",
        "cpu",
        "--width",
        "small",
        "--documents",
        "40",
        "--rounds",
        "1",
        "--budgets",
        "1024",
    ]
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    command = [sys.executable, "benchmarks/gpu.py", *settings, "--output", str(output), *options]
    if bare:
        copied = output.with_name("bare")
        for folder in ("models", "benchmarks"):
            shutil.copytree(ROOT / folder, copied / folder, ignore=shutil.ignore_patterns("__pycache__"))
        script = copied / "benchmarks/gpu.py"
        start = (
            f"import runpy\nsys.argv = {command[1:]!r}\nrunpy.run_path({str(script)!r}, run_name='__main__')"
        )
        command = [sys.executable, "-c", BLOCKED + start]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    file = output / "results.json"
    return done, json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


@pytest.mark.exhaustive
def test_every_section_runs_on_a_bare_machine(tmp_path: Path) -> None:
    """One architecture, without the package and what a pipeline needs; one JSON and one Markdown file."""
    done, found = run(tmp_path / "out", "--architectures", "mobilebert", bare=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == f"models from {tmp_path / 'bare/models/__init__.py'}"
    ours = {f"{kind} mobilebert" for kind in ("exactness", "speed", "transformers", "launching")}
    assert set(found) == SECTIONS | ours | {"MobileBERT at range", "seconds"}
    assert found["exactness mobilebert"]["passed"] is True
    assert found["exactness mobilebert"]["packed against alone, float32"] < 1e-5
    assert found["MobileBERT at range"]["random, stretched: largest activation"] > 1e5
    assert found["speed mobilebert"]["tokens/s"] > 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["results.json", "results.md"]
    assert "| mobilebert | " in (tmp_path / "out" / "results.md").read_text(encoding="utf-8")


@pytest.mark.exhaustive
def test_every_architecture_is_exact(tmp_path: Path) -> None:
    """All five, as on a GPU."""
    done, found = run(tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sum(name.startswith("exactness ") and each["passed"] for name, each in found.items()) == 5


@pytest.mark.exhaustive
def test_padded_batches_are_checked_as_they_are_on_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sections that read an encoder accept one that pads small batches, which only a GPU has."""

    def load(*arguments: Any, **options: Any) -> Model:
        model = load_model(*arguments, **options)
        encoder = model.encoder
        padding = PaddedEncoder(encoder, positions=model.checkpoint.max_positions, limit=2048)
        padding.runner = lambda batch, _bucket, request: encoder(batch, request).last_hidden_state
        model.encoder = padding
        return model

    monkeypatch.setattr(exactness, "load_model", load)
    monkeypatch.setattr(kernels, "load_model", load)
    folder = write_checkpoint("convbert", "small", tmp_path)
    assert exactness.check(folder, device="cpu")["passed"] is True
    found = kernels.launching(folder, device="cpu")
    rows = [row for row in found.values() if isinstance(row, dict)]
    assert len(rows) == len(kernels.SIZES)
    assert all(row["replayed and padded agree to the bit"] is True for row in rows)
    assert found["recording failed"] is None


@pytest.mark.slow
def test_time_that_runs_out_skips_what_is_left(tmp_path: Path) -> None:
    """Each section is marked as skipped, and both files exist."""
    done, found = run(tmp_path / "out", "--architectures", "bert", "--seconds", "1")
    assert done.returncode == 0
    assert all("skipped" in each for name, each in found.items() if name != "seconds")
    told = (tmp_path / "out" / "results.md").read_text(encoding="utf-8")
    assert re.search(r"speed bert: [01] s were left of 1\b", told)


def test_without_a_gpu_nothing_is_run_and_the_script_reports_it(tmp_path: Path) -> None:
    """A CPU's figures would be mistaken for a GPU's."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    done = subprocess.run(
        [sys.executable, "benchmarks/gpu.py", "--output", str(tmp_path / "out")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout.startswith("torch finds no CUDA device, so nothing was run")
    assert not (tmp_path / "out").exists()


def test_lengths_have_the_stated_distribution() -> None:
    """Median 76, mean 93, at most 512."""
    lengths = draw_lengths(200_000, seed=1)
    assert np.median(lengths) == pytest.approx(MEDIAN, rel=0.02)
    assert lengths.mean() == pytest.approx(MEAN, rel=0.02)
    assert lengths.min() >= SHORTEST
    assert lengths.max() == LONGEST


@pytest.mark.parametrize("budget", [1, 600, 10**6])
def test_batches_hold_every_token_once(budget: int) -> None:
    """Packed batches up to the budget; padded batches with as many real tokens."""
    corpus = draw_corpus(500)
    batches = corpus.batches(budget)
    assert sum(len(batch.input_ids) for batch in batches) == corpus.tokens
    assert all(len(batch.input_ids) <= max(budget, int(batch.lengths[0])) for batch in batches)
    padded = padded_batches(corpus.documents, cells=budget)
    assert sum(int(mask.sum()) for _, mask in padded) == corpus.tokens
    assert all(len(mask) == 1 or mask.numel() <= budget for _, mask in padded)


def test_a_page_shows_what_failed() -> None:
    """A section's failure is shown in the place of its figure."""
    results = {
        "machine": {"device": "a card"},
        "speed bert": {
            "tokens/s": 2_500_000,
            "share of the product rate": 0.55,
            "kernels": "k",
            "batches": {},
        },
        "transformers bert": {"tokens/s": 500_000},
        "speed convbert": {"failed": "RuntimeError: no | kernel", "trace": "..."},
        "exactness bert": {"packed against alone, float32": 1e-7, "passed": True},
    }
    text = page(results, {"bert": "2.3M tokens/s"}, 5.0)
    assert "| bert | 2,500,000 | 0.55 | 500,000 | 5.00 | 2.3M tokens/s |" in text
    assert "| convbert | RuntimeError: no / kernel | - | - | - | 5 times transformers |" in text
    assert "- **bert**: packed against alone, float32 1e-07; passed True" in text
    assert "trace" not in text
