"""A job to schedule."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support.office import Office
from support.tiny_checkpoints import write_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small classifier."""
    folder = tmp_path_factory.mktemp("checkpoints") / "classifier"
    write_checkpoint(folder, "distilbert", "text-classification", width=16, layers=1)
    return folder


@pytest.fixture
def office(tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    """A job called nightly over 16 rows, with relative paths."""
    monkeypatch.setenv("CORPUSMILL_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    job = {
        "name": "nightly",
        "input": {"path": "in", "text": "text", "keep": ["id"], "rows_per_unit": 8},
        "models": [{"checkpoint": os.path.relpath(checkpoint, tmp_path)}],
        "output": {"path": "out"},
    }
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    found = Office(tmp_path)
    found.rows(16)
    yield found
    found.stop()
