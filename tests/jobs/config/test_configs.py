"""The job files in configs/: each does its work, on small files of its own formats and small checkpoints."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from support.tiny_checkpoints import write_checkpoint

from corpusmill.jobs import JobConfig, run
from corpusmill.jobs.config.schema import ModelConfig
from corpusmill.jobs.verify.verify import verify

CONFIGS = Path(__file__).parents[3] / "configs"
JOBS = sorted(CONFIGS.glob("*.yaml"))
HEADS = {
    "zero-shot-classification": "text-classification",
    "reranking": "text-classification",
    "embedding": "embedding",
    "sparse-embedding": "sparse-embedding",
}
TEXTS = ["the house by the river in the north", "they run", "a wonderful film with good music " * 40]
USES = {"embedding", "text-classification", "token-classification", "question-answering", "sparse-embedding"}
USES |= {"zero-shot-classification", "reranking"}


def write_input(path: str, columns: list[str], text: str, folder: Path) -> str:
    """Writes rows in the format that a job's path names; returns the path to read them with."""
    name = path.rpartition("/")[2].replace("*", "part")
    rows = [
        {column: value if column == text else f"{column} {i}" for column in columns}
        for i, value in enumerate(TEXTS)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    folder.mkdir(exist_ok=True)
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), folder / name)
    else:
        packed = {"gz": gzip.compress, "zst": zstandard.ZstdCompressor().compress}.get(
            name.rpartition(".")[2], bytes
        )
        (folder / name).write_bytes(packed(lines))
    return str(folder / path.rpartition("/")[2])


def tiny(model: ModelConfig, folder: Path) -> str:
    """Writes a small checkpoint for a model's task."""
    task = model.task or ""
    named = {
        "zero-shot-classification": ("entailment", "neutral", "contradiction"),
        "reranking": ("LABEL_0",),
    }
    labels = named.get(task, ("neg", "pos"))
    more: dict[str, Any] = {"sentence_transformers": task == "embedding"}
    write_checkpoint(folder, "distilbert", HEADS.get(task, task), width=16, layers=1, labels=labels, **more)
    return str(folder)


def test_every_use_has_its_job() -> None:
    """All the tasks that people come for, and a job file or more for each."""
    tasks = {model.task for path in JOBS for model in JobConfig.from_yaml(path).models}
    assert tasks >= USES
    assert {path.stem for path in JOBS} >= {"splade", "multi-model", "cluster-s3", "nightly"}


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_a_job_does_its_work(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all its options; only places, checkpoints and what this machine's CPU lacks are others."""
    monkeypatch.chdir(tmp_path)
    config = JobConfig.from_yaml(path)
    fields = config.model_dump(by_alias=True, exclude_unset=True)
    columns = [*config.input.keep, config.input.text]
    columns += [config.input.text_pair] if config.input.text_pair else []
    fields["input"]["path"] = [
        write_input(one, columns, config.input.text, tmp_path / "in") for one in config.input.path
    ]
    for i, model in enumerate(config.models):
        fields["models"][i]["checkpoint"] = tiny(model, tmp_path / f"model{i}")
    fields["output"]["path"] = "out/" + config.output.path.rpartition("/")[2]
    result = run(JobConfig.from_dict(fields), executor="inline")
    assert (result.rows, result.rejected) == (len(TEXTS), 0)
    checked = verify(result.output)
    assert (checked.ok, checked.complete) == (True, True)


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_a_job_says_what_it_is_for(path: Path) -> None:
    """In its first line."""
    assert path.read_text(encoding="utf-8").startswith("# ")
