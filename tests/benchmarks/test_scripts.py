"""The scripts in benchmarks/: each runs on a tiny input and prints its result."""

import json
import subprocess
import sys
from importlib import util
from pathlib import Path
from typing import Any

import pytest
import torch

import accuracy
import document_length
import tokenizer
from corpusmill.jobs.bench import Measure, Settings, run_measurement
from corpusmill.jobs.demo.job import MINILM_PACKAGE
from peers import padded

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path.name for path in (ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text())
ENGINES = ("onnx", "onnxruntime", "openvino")
MISSING = [name for name in ENGINES if util.find_spec(name) is None]


def ran(script: str, *options: object) -> subprocess.CompletedProcess[str]:
    """Run a script as a maintainer does."""
    command = [sys.executable, f"benchmarks/{script}", *map(str, options)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def found(script: str, *options: object) -> dict[str, Any]:
    """Return the object that a script prints."""
    done = ran(script, *options)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def options_of(settings: Settings, folder: Path) -> list[object]:
    """Return settings as options of a measurement."""
    chosen = ["--docs", 8, "--corpus", settings.corpus, "--architecture", *settings.architectures]
    return [*chosen, "--dtypes", "float32", "--threads", 1, "--rounds", 1, "--folder", folder]


def test_every_script_is_listed() -> None:
    """The README lists every script."""
    page = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert [script for script in SCRIPTS if f"benchmarks/{script}" not in page] == []


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_starts(script: str) -> None:
    """Its imports work; with `--help` it prints its options and measures nothing."""
    done = ran(script, "--help")
    assert done.returncode == 0, done.stderr
    assert f"usage: {script}" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("measure", [tokenizer.measure, document_length.measure])
def test_a_script_measures_what_it_ran(settings: Settings, tmp_path: Path, measure: Measure) -> None:
    """Positive rates in every row."""
    result = run_measurement("x", measure, settings, folder=tmp_path, command="python benchmarks/x.py")
    rows = [row for rows in result.tables.values() for row in rows]
    assert rows
    assert all(value > 0 for row in rows for value in row.values() if isinstance(value, int | float))
    assert "`python benchmarks/x.py`" in Path(result.page).read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_measurement_prints_one_object_and_writes_its_page(settings: Settings, tmp_path: Path) -> None:
    """Named after the script, with the command that was typed."""
    result = found("tokenizer.py", *options_of(settings, tmp_path))
    assert Path(result["page"]).name.startswith("tokenizer_")
    assert "`python benchmarks/tokenizer.py --docs 8" in Path(result["page"]).read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_missing_engine_is_reported_with_its_installation(settings: Settings, tmp_path: Path) -> None:
    """Other engines are not installed with the package."""
    code = "import runpy, sys; sys.modules['onnx'] = None; sys.path.insert(0, 'benchmarks'); "
    code += "runpy.run_path('benchmarks/peers.py', run_name='__main__')"
    command = [sys.executable, "-c", code, *map(str, options_of(settings, tmp_path))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    needed = "error: this comparison needs onnx: pip install -r benchmarks/requirements.txt"
    assert done.stderr.strip().endswith(needed)
    assert not list(tmp_path.glob("*.md"))


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
def test_engines_run_in_turn(settings: Settings, tmp_path: Path) -> None:
    """All of them, and ours, with ratios between those of one precision."""
    tables = found("peers.py", *options_of(settings, tmp_path))["tables"]
    contenders = {row["contender"] for row in tables["Throughput, real tokens"]}
    assert {"corpusmill float32", "ONNX Runtime int8, sorted", "OpenVINO bfloat16, sorted"} <= contenders
    (ratios,) = tables["Ratios"]
    assert ratios["times as fast"] > 0


def test_contenders_that_pad_see_the_same_tokens() -> None:
    """The mask marks padding."""
    sequences = [[1 + (i + j) % 9 for j in range(1 + i % 7)] for i in range(50)]
    batches = list(padded(sequences))
    assert sum(int(mask_NL.sum()) for _, mask_NL in batches) == sum(map(len, sequences))
    assert all(((ids_NL > 0) == (mask_NL > 0)).all() for ids_NL, mask_NL in batches)


@pytest.mark.slow
@pytest.mark.skipif(util.find_spec(MINILM_PACKAGE) is None, reason=f"{MINILM_PACKAGE} is not installed")
def test_accuracy_is_of_real_weights() -> None:
    """bfloat16 keeps direction, neighbours and labels of two dozen docstrings."""
    settings = Settings(documents=24, dtypes=("bfloat16",), threads=1, rounds=1)
    result = run_measurement("accuracy", accuracy.measure, settings, folder=None, command="")
    (row,) = result.tables["Agreement with float32"]
    assert row["cosine, least"] >= 0.999
    assert row["overlap of the 10 nearest"] >= 0.9
    assert row["labels that agree"] >= 0.95


def test_overlap_counts_kept_neighbours() -> None:
    """All with the same vectors, none with permuted ones."""
    x_ND = torch.eye(4).repeat_interleave(2, 0) + 0.01 * torch.randn(8, 4, generator=torch.Generator())
    assert accuracy.overlap(x_ND, x_ND, nearest=1) == 1
    assert accuracy.overlap(x_ND, x_ND[[0, 2, 4, 6, 1, 3, 5, 7]], nearest=1) == 0


@pytest.mark.exhaustive
def test_jobs_of_growing_size_are_measured(settings: Settings, tmp_path: Path) -> None:
    """On Ray, to their end: 1, 10 and 100 times as many documents."""
    (rows,) = found("corpus_size.py", *options_of(settings, tmp_path))["tables"].values()
    assert [row["documents"] for row in rows] == [8, 80, 800]
    assert all(row["tokens/s"] > 0 for row in rows)


@pytest.mark.slow
def test_the_simulated_traces_are_drawn(tmp_path: Path) -> None:
    """The table, and a chart of the workers over time."""
    done = ran("autoscaling.py", tmp_path / "chart")
    assert done.returncode == 0, done.stderr
    assert "completion, s: ours" in done.stdout
    assert (tmp_path / "chart.svg").read_text(encoding="utf-8").startswith("<svg")


@pytest.mark.slow
def test_the_host_path_is_measured_by_stage(settings: Settings) -> None:
    """Every stage has its microseconds per document."""
    paths = ["--corpus", settings.corpus, "--tokenizer", settings.tokenizer]
    result = found("host_path.py", *paths, "--rounds", 1)
    assert result["documents"] == 24
    assert all(spent >= 0 for spent in result["microseconds a document"].values())


@pytest.mark.exhaustive
def test_the_engine_around_a_simulated_gpu_is_measured(settings: Settings, tmp_path: Path) -> None:
    """Real processes, to the end of the corpus."""
    paths = ["--corpus", settings.corpus, "--tokenizer", settings.tokenizer, "--output", tmp_path / "out"]
    result = found("simulated_gpu.py", *paths, "--times", 10)
    assert result["units"] == 10
    assert result["documents/s"] > 0


@pytest.mark.exhaustive
def test_the_driver_is_measured_with_many_workers() -> None:
    """Fewer workers here, so that it takes seconds."""
    result = found("thousand_workers.py", "--workers", 20, "--seconds", 3)
    assert result["workers"] == 20
    assert result["loops_per_second"] > 0


@pytest.mark.exhaustive
def test_the_object_store_is_measured_under_a_slow_model(tmp_path: Path) -> None:
    """It stops by itself after the asked-for seconds."""
    result = found("backpressure.py", tmp_path, "--seconds", 15)
    assert result["seconds"] >= 15
    assert result["most_mb"] < result["store_mb"]


@pytest.mark.exhaustive
def test_many_units_are_planned_resumed_and_listed(tmp_path: Path) -> None:
    """One object per command, each with exit code 0."""
    done = ran("million_units.py", tmp_path / "many", "--units", 20, "--files", 2)
    commands = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["command"] for one in commands] == [
        "plan",
        "run, 2 units left",
        "run, none left",
        "verify --listing",
    ]
    assert [one["exit_code"] for one in commands] == [0, 0, 0, 0]
