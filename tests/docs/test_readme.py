"""The README holds: its commands are run as it says them, on the demo's real output."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from corpusmill.jobs.demo.spans import LABELS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    README,
    *(
        (ROOT / f"docs/{name}.md").read_text(encoding="utf-8")
        for name in ("evaluate", "convert", "benchmarking")
    ),
]
"""The README and the pages whose commands work on the demo's output."""
BIN = Path(sys.executable).parent
LONGEST = 600


def blocks(language: str) -> list[str]:
    """The pages' code blocks of a language."""
    pattern = re.compile(rf"^```{language}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [block for page in PAGES for block in pattern.findall(page)]


def commands() -> list[str]:
    """The README's shell commands, comments left out."""
    lines = [line.split("#")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line]


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, with this environment's programs first."""
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(  # noqa: PLW1510  the caller looks at the exit code
        command, shell=True, cwd=folder, capture_output=True, text=True, timeout=LONGEST, env=environment
    )


def write_old_checkpoint(folder: Path) -> None:
    """Write the demo's classifier the way checkpoints were before safetensors."""
    shutil.copytree(ROOT / "configs/demo/stdlib-sections", folder)
    weights = folder / "model.safetensors"
    torch.save(load_file(weights), folder / "pytorch_model.bin")
    weights.unlink()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which what `make demo` runs was run, and what it printed."""
    folder = tmp_path_factory.mktemp("clone")
    recipe = re.search(r"^demo:.*\n\t(.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert recipe is not None
    done = shell(recipe.group(1).replace("$(BIN)/", ""), folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_the_readmes_targets_are_in_the_makefile() -> None:
    """Each `make` command of the README names a target."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    asked = [command.split()[1] for command in commands() if command.startswith("make ")]
    assert {"demo", "test"} <= set(asked) <= set(targets)


@pytest.mark.slow
def test_the_demo_embeds_labels_and_tags_every_document(demo: tuple[Path, str]) -> None:
    """Every line of the corpus is there; samples, spans, neighbours and a DuckDB line are shown."""
    folder, printed = demo
    lines = sum(
        len(path.read_text(encoding="utf-8").splitlines())
        for path in (folder / "out/demo/corpus").glob("*.jsonl")
    )
    manifest = pq.read_table(folder / "out/demo/result/_manifest.parquet")
    assert lines > 5_000
    assert sum(manifest["rows"].to_pylist()) == lines
    assert sum(manifest["rejected"].to_pylist()) == 0
    assert all(
        text in printed
        for text in (
            "five documents",
            "spans of the tagger",
            *LABELS,
            "nearest to:",
            "threading",
            str(folder / "out/demo/result"),
        )
    )
    (line,) = [line for line in printed.splitlines() if "duckdb" in line and line.startswith("python -c")]
    read = shell(line, folder)
    assert read.returncode == 0, read.stderr
    assert "section_label" in read.stdout


@pytest.mark.slow
def test_the_readmes_commands_run(demo: tuple[Path, str]) -> None:
    """Every corpusmill command of the README succeeds after the demo; the run finds nothing left to do."""
    asked = [
        command for command in commands() if command.removeprefix(".venv/bin/").startswith("corpusmill ")
    ]
    assert {command.split()[1] for command in asked} == {
        "init",
        "plan",
        "run",
        "verify",
        "report",
        "bench",
        "evaluate",
        "convert",
    }
    write_old_checkpoint(demo[0] / "old-bert")
    (demo[0] / "data").mkdir()
    reviews = {"id": list(range(20)), "body": [f"review number {i}" for i in range(20)]}
    pq.write_table(pa.table(reviews), demo[0] / "data/reviews.parquet")
    for command in asked:
        done = shell(command.replace(".venv/bin/", ""), demo[0])
        assert done.returncode == 0, f"{command}: {done.stderr}"
    stats = json.loads((demo[0] / "out/demo/result/_job/stats.json").read_text(encoding="utf-8"))
    assert stats["skipped_units"] == stats["units"] > 0


def test_the_readmes_extras_exist() -> None:
    """What the README installs with pip is an extra of the package."""
    extras = [extra for command in commands() for extra in re.findall(r"corpusmill\[(\w+)\]", command)]
    known = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    assert extras
    assert set(extras) <= set(known)


@pytest.mark.slow
def test_the_readmes_python_runs(demo: tuple[Path, str]) -> None:
    """The Python example runs on a job file named as in the README."""
    (example,) = blocks("python")
    (demo[0] / "job.yaml").write_text(
        (demo[0] / "out/demo/job.yaml").read_text(encoding="utf-8"), encoding="utf-8"
    )
    (demo[0] / "example.py").write_text(example + "print(result.rows)\n", encoding="utf-8")
    done = shell("python example.py", demo[0])
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 5_000


def test_the_readme_can_be_read_at_once() -> None:
    """At most 160 lines, and a link to the first page of the documentation."""
    assert len(README.splitlines()) <= 160
    assert "](docs/index.md)" in README
