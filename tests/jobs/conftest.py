"""Checkpoints once a session, a workshop once a test."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from support.s3 import Proxy, emptied, s3_server
from support.tiny_checkpoints import write_checkpoint
from workshop import Workshop


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a BERT embedder and a DistilBERT classifier."""
    folder = tmp_path_factory.mktemp("checkpoints")
    write_checkpoint(folder / "embedder", "bert", "embedding", width=16, layers=1, sentence_transformers=True)
    write_checkpoint(folder / "classifier", "distilbert", "text-classification", width=16, layers=1, seed=1)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's fetched checkpoints go: never the user's own cache."""
    monkeypatch.setenv("CORPUSMILL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def workshop(tmp_path: Path, checkpoints: Path) -> Workshop:
    """An empty folder to write inputs and jobs in."""
    return Workshop(tmp_path, checkpoints / "embedder", checkpoints / "classifier")


@pytest.fixture(scope="session")
def s3_process() -> Iterator[Proxy]:
    """The one S3 server of all tests."""
    with s3_server() as proxy:
        yield proxy


@pytest.fixture
def s3(s3_process: Proxy) -> Iterator[Proxy]:
    """The server with an empty bucket, in the environment for this test only."""
    with emptied(s3_process) as proxy:
        yield proxy
