"""CONTRIBUTING.md holds: its worked example is followed in a copy of the packages."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pyarrow import feather
from support.pages import FENCE, ROOT, TITLE

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
TABLE = "pipeline/tasks/__init__.py"


def steps() -> dict[str, str]:
    """Return the page's blocks that have a title: the files, and the lines for the table."""
    found = {}
    for _, info, text in FENCE.findall(PAGE):
        if title := TITLE.search(info):
            found[title[1]] = text
    return found


def copied(folder: Path) -> Path:
    """Copy the packages and the smallest checkpoint, so that the example may change them."""
    package = folder / "corpusmill"
    for name in ("models", "pipeline", "jobs"):
        shutil.copytree(ROOT / name, package / name, ignore=shutil.ignore_patterns("__pycache__"))
    root = ROOT / "src" / "corpusmill" / "__init__.py"
    (package / "__init__.py").write_text(root.read_text() if root.exists() else "")
    shutil.copytree(ROOT / "configs" / "demo" / "stdlib-sections", folder / "sections")
    return package


@pytest.mark.slow
def test_the_worked_example_can_be_followed(tmp_path: Path) -> None:
    """A file and two lines of a table make a task that a job runs, null rows and all."""
    package, parts = copied(tmp_path), steps()
    (package / "pipeline/tasks/label_margin.py").write_text(parts["pipeline/tasks/label_margin.py"])
    table = (package / TABLE).read_text()
    start = "TASKS: dict[str, type[Task]] = {\n"
    assert start in table
    (package / TABLE).write_text(table.replace(start, parts[TABLE] + "\n" + start + parts["TASKS"]))
    (tmp_path / "job.yaml").write_text(parts["job.yaml"])
    (tmp_path / "rows.jsonl").write_text('{"id": 1, "body": "Open a socket."}\n{"id": 2, "body": null}\n')
    command = "from corpusmill.jobs.cli.app import main; main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", command, "run", "job.yaml", "--executor", "inline"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / "out" / "data").iterdir()
    table = feather.read_table(file)
    assert table.column_names == ["id", "margin"]
    first, second = table["margin"].to_pylist()
    assert 0 <= first <= 1
    assert second is None
