"""One head for all tests, and jobs to send to it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support.ray_head import Desk, Head, start_head
from support.tiny_checkpoints import write_checkpoint


@pytest.fixture(scope="session")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    """The head that most tests share."""
    started = start_head(tmp_path_factory.mktemp("head"))
    yield started
    started.stop()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small classifier."""
    folder = tmp_path_factory.mktemp("checkpoints") / "classifier"
    write_checkpoint(folder, "distilbert", "text-classification", width=16, layers=1)
    return folder


@pytest.fixture
def desk(tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A job of 40 rows with relative paths, and a state folder of its own."""
    monkeypatch.setenv("CORPUSMILL_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)
    job = {
        "name": "Some reviews",
        "input": {"path": "in", "text": "text", "keep": ["id"], "rows_per_unit": 8},
        "models": [{"checkpoint": os.path.relpath(checkpoint, tmp_path)}],
        "output": {"path": "out"},
    }
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    found = Desk(tmp_path)
    found.numbered(40)
    return found
