"""Small checkpoints, a small corpus, and one Ray cluster for all tests of the engine."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from support.tiny_checkpoints import write_checkpoint

from corpusmill.pipeline.engine.cluster import working_folder
from corpusmill.pipeline.engine.messages import EngineState
from corpusmill.pipeline.engine.ray_engine import RayEngine

WORDS = [
    "the",
    "water",
    "moves",
    "under",
    "a",
    "bridge",
    "and",
    "people",
    "walk",
    "home",
    "in",
    "the",
    "light",
    "of",
    "an",
    "old",
    "city",
]


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A BERT embedder and a DistilBERT classifier."""
    root = tmp_path_factory.mktemp("checkpoints")
    write_checkpoint(root / "embedder", "bert", "embedding", seed=1)
    write_checkpoint(root / "classifier", "distilbert", "text-classification", seed=2)
    return {"embedder": root / "embedder", "classifier": root / "classifier"}


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three JSONL files, 600 rows in all, with a bad line, a null text and one text twice in each."""
    folder = tmp_path_factory.mktemp("corpus")
    for part in range(3):
        rows = [
            {
                "id": part * 200 + i,
                "body": " ".join(WORDS[(i + j) % len(WORDS)] for j in range(1 + (i * 7) % 60)),
            }
            for i in range(200)
        ]
        rows[31]["body"] = rows[30]["body"]
        rows[10]["body"] = None  # type: ignore[assignment]
        lines = [json.dumps(row) for row in rows]
        lines[20] = '{"id": broken'
        (folder / f"part-{part}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A local cluster of two CPUs, and of a GPU that only Ray believes in: nothing can compute on it."""
    with working_folder(str(tmp_path_factory.mktemp("neutral"))):
        ray.init(
            "local",
            num_cpus=2,
            num_gpus=1,
            include_dashboard=False,
            logging_level=logging.ERROR,
            log_to_driver=False,
        )
    yield
    ray.shutdown()


def models(checkpoints: dict[str, Path]) -> list[dict[str, Any]]:
    """One with windows of long texts, one that cuts them; they share a tokenizer."""
    windows = {"max_length": 32, "long_text": "window", "stride": 8}
    return [
        {"checkpoint": str(checkpoints["embedder"]), "name": "e", "task": "embedding", **windows},
        {"checkpoint": str(checkpoints["classifier"]), "name": "c", "task": "text-classification"},
    ]


@pytest.fixture
def job(checkpoints: dict[str, Path], corpus: Path, tmp_path: Path) -> dict[str, Any]:
    """A job of two models over the corpus, in units of 40 rows."""
    return {
        "name": "test",
        "input": {"path": str(corpus), "text": "body", "keep": ["id"], "rows_per_unit": 40},
        "models": models(checkpoints),
        "output": {"path": str(tmp_path / "out")},
    }


@pytest.fixture(scope="session")
def undisturbed(
    checkpoints: dict[str, Path], corpus: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """The data files of an undisturbed inline run of `job`."""
    from corpusmill.jobs import JobConfig, run

    out = tmp_path_factory.mktemp("undisturbed") / "out"
    fields = {
        "name": "test",
        "input": {"path": str(corpus), "text": "body", "keep": ["id"], "rows_per_unit": 40},
        "models": models(checkpoints),
        "output": {"path": str(out)},
    }
    run(JobConfig.from_dict(fields), executor="inline")
    return {path.name: path.read_bytes() for path in (out / "data").iterdir()}


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> list[EngineState]:
    """Every state that the engine reported."""
    seen: list[EngineState] = []
    original = RayEngine.state

    def state(engine: RayEngine) -> EngineState:
        seen.append(original(engine))
        return seen[-1]

    monkeypatch.setattr(RayEngine, "state", state)
    return seen
