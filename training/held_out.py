"""Evaluation of a small model by a job over held-out texts, as users run it."""

import json
import platform
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset

from corpusmill.jobs import JobConfig, run
from corpusmill.jobs.demo.corpus import collect
from split import is_held_out

LIBRARIES = ("torch", "transformers", "tokenizers")


def split_texts() -> tuple[list[str], list[str]]:
    """Return the corpus's texts for training, and those held out."""
    sides: tuple[list[str], list[str]] = ([], [])
    for document in collect():
        sides[is_held_out(document.text)].append(document.text)
    return sides


def job_output(
    checkpoint: Path, rows: list[dict[str, Any]], *, text_pair: str | None = None, **model: Any
) -> pa.Table:
    """Return a job's output for rows with a column `text`, in order; `model` is its entry in the job file."""
    with tempfile.TemporaryDirectory() as name:
        lines = "".join(json.dumps({"id": i, **row}) + "\n" for i, row in enumerate(rows))
        (Path(name) / "rows.jsonl").write_text(lines, encoding="utf-8")
        job = {
            "name": "held-out",
            "input": {
                "path": f"{name}/rows.jsonl",
                "text": "text",
                "keep": ["id"],
                **({"text_pair": text_pair} if text_pair else {}),
            },
            "models": [{"checkpoint": str(checkpoint), **model}],
            "output": {"path": f"{name}/out"},
        }
        run(JobConfig.from_dict(job), executor="inline")
        return pyarrow.dataset.dataset(f"{name}/out/data", format="ipc").to_table().sort_by("id")


def write_metrics(folder: Path, scores: dict[str, Any], *, recipe: dict[str, Any], seconds: float) -> None:
    """Write scores, recipe and versions beside the weights."""
    metrics = {
        **scores,
        "cpu_seconds": round(seconds),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "recipe": recipe,
    }
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(metrics))
