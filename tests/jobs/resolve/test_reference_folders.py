"""Settings of sentence-transformers' folders: the columns are what its `encode` gives."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentence_transformers as st
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers.sentence_transformer import modules as dense_modules
from sentence_transformers.sparse_encoder import modules
from support.running import encoded
from support.tiny_checkpoints import write_checkpoint

from corpusmill.jobs.convert import convert
from corpusmill.jobs.resolve.model import model_spec
from corpusmill.models import ConfigError, read_checkpoint
from corpusmill.pipeline.checkpoints.find import digest

TEXTS = ["the water runs to the old house", "good", "they watch it all night"]


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A masked language model."""
    return write_checkpoint(tmp_path_factory.mktemp("words"), "bert", "fill-mask")


def spec(folder: Path, task: str, **options: Any) -> Any:
    return model_spec(str(folder), task=task, dtype="float32", device="cpu", **options)


def splade(words: Path, activation: str = "relu", strategy: str = "max") -> list[Any]:
    transformer = modules.Transformer(str(words), transformer_task="fill-mask")
    return [transformer, modules.SpladePooling(strategy, activation)]


def free_of_inference(words: Path, activation: str = "log1p_relu") -> list[Any]:
    """Queries have the weights of a table, documents those of a model."""
    documents = splade(words, activation)
    table = modules.SparseStaticEmbedding(documents[0].tokenizer)
    return [modules.Router.for_query_document([table], documents)]


def asymmetric(words: Path) -> list[Any]:
    """Queries and documents have projections of their own."""
    routes = {
        name: [dense_modules.Dense(32, 8), dense_modules.LayerNorm(8)] for name in ("query", "document")
    }
    transformer, pooling = dense_modules.Transformer(str(words)), dense_modules.Pooling(32)
    return [transformer, pooling, dense_modules.Router(routes)]


@pytest.mark.parametrize(
    ("chain", "settings", "options"),
    [
        (splade, {}, {}),
        (splade, {"max_active_dims": 5}, {}),
        (splade, {"max_active_dims": 5}, {"top_k": 3}),
        (splade, {"prompts": {"doc": "find the "}, "default_prompt_name": "doc"}, {}),
        (splade, {"prompts": {"doc": "find the "}, "default_prompt_name": "doc"}, {"prompt": "my "}),
        (splade, {"default_prompt_name": "query"}, {}),
        (lambda words: splade(words, "log1p_relu"), {}, {}),
        (lambda words: splade(words, "log1p_relu", "sum"), {}, {}),
        (free_of_inference, {"max_active_dims": 9}, {}),
        (lambda words: free_of_inference(words, "relu"), {}, {}),
    ],
)
def test_sparse_weights(
    words: Path, tmp_path: Path, chain: Any, settings: dict[str, Any], options: dict[str, Any]
) -> None:
    """Words and weights are those of `encode` for documents; an option of the job has priority."""
    st.SparseEncoder(modules=chain(words), device="cpu", **settings).save(
        str(tmp_path), create_model_card=False
    )
    theirs = st.SparseEncoder(str(tmp_path), device="cpu").encode(
        TEXTS,
        convert_to_sparse_tensor=False,
        max_active_dims=options.get("top_k"),
        prompt=options.get("prompt"),
        task="document",
    )
    table = encoded(spec(tmp_path, "sparse-embedding", **options), text=TEXTS)
    for row, wanted_V in zip(table["sparse"].to_pylist(), theirs, strict=True):
        ours_V = torch.zeros_like(wanted_V)
        for word in row:
            ours_V[word["token_id"]] = word["weight"]
        torch.testing.assert_close(ours_V, wanted_V, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ({"truncate_dim": 5}, {}),
        ({"truncate_dim": 5}, {"normalize": True}),
        ({"prompts": {"p": "find the "}, "default_prompt_name": "p", "truncate_dim": 7}, {}),
        ({"prompts": {"query": "find the "}, "default_prompt_name": "query"}, {}),
        ({"default_prompt_name": "document"}, {}),
        ({"prompts": {"query": "find the "}}, {}),
        ({"similarity_fn_name": "dot"}, {}),
    ],
)
def test_vectors(words: Path, tmp_path: Path, settings: dict[str, Any], options: dict[str, Any]) -> None:
    """Prompts and lengths are the folder's own; a similarity function changes no vector."""
    transformer, pooling = dense_modules.Transformer(str(words)), dense_modules.Pooling(32)
    st.SentenceTransformer(modules=[transformer, pooling], device="cpu", **settings).save(
        str(tmp_path), create_model_card=False
    )
    theirs = st.SentenceTransformer(str(tmp_path), device="cpu").encode(
        TEXTS, normalize_embeddings=options.get("normalize", False)
    )
    table = encoded(spec(tmp_path, "embedding", **options), text=TEXTS)
    np.testing.assert_allclose(np.array(table["embedding"].to_pylist()), theirs, rtol=0, atol=1e-5)


def test_a_query_table_is_refused_by_name(words: Path, tmp_path: Path) -> None:
    """Documents are what a corpus has; the message names the module."""
    st.SparseEncoder(modules=free_of_inference(words), device="cpu").save(
        str(tmp_path), create_model_card=False
    )
    with pytest.raises(ConfigError, match="SparseStaticEmbedding', which this version does not run"):
        read_checkpoint(tmp_path, route="query")


@pytest.mark.parametrize("chain", [free_of_inference, asymmetric], ids=["sparse", "dense"])
def test_all_routes_are_converted(words: Path, tmp_path: Path, chain: Any) -> None:
    """Every module's weights become safetensors, those of routes that this version does not run too."""
    model = (st.SparseEncoder if chain is free_of_inference else st.SentenceTransformer)(
        modules=chain(words), device="cpu"
    )
    model.save(str(tmp_path / "old"), create_model_card=False)
    files = sorted((tmp_path / "old").rglob("model.safetensors"))
    wanted = {path.relative_to(tmp_path / "old"): load_file(path) for path in files}
    for path in files:
        torch.save(load_file(path), path.with_name("pytorch_model.bin"))
        path.unlink()
    convert(tmp_path / "old", tmp_path / "new")
    for path, tensors in wanted.items():
        written = load_file(tmp_path / "new" / path)
        assert tensors.keys() == written.keys()
        assert all(torch.equal(tensors[name], written[name]) for name in tensors)


def test_modules_in_folders_of_a_router_are_in_the_digest(words: Path, tmp_path: Path) -> None:
    """A changed projection is another checkpoint."""
    st.SentenceTransformer(modules=asymmetric(words), device="cpu").save(
        str(tmp_path), create_model_card=False
    )
    before = digest(tmp_path)
    path = tmp_path / "2_Router" / "query_0_Dense" / "model.safetensors"
    save_file({name: tensor + 1 for name, tensor in load_file(path).items()}, path)
    assert digest(tmp_path) != before
