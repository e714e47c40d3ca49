"""Folders that sentence-transformers wrote give the vectors that it gives for them."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentence_transformers as st
import torch
from sentence_transformers.sentence_transformer import modules
from support.named_tests import all_names
from support.tiny_checkpoints import write_checkpoint
from torch import nn

from corpusmill.models import ConfigError, OptionError, PackedTokens, load_model, read_checkpoint
from corpusmill.models.checkpoints.key_check import key_notes
from corpusmill.models.checkpoints.key_table import FILES
from corpusmill.pipeline.tokenize.tokenizer import load_tokenizer, model_max_length

TEXTS = ["the water runs to the old house", "good", "they watch it all night and the water runs ."]
CASED = [text.title() for text in TEXTS]
Chain = Callable[[Path], list[nn.Module]]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder without modules."""
    return write_checkpoint(tmp_path_factory.mktemp("plain"), "bert", "base")


def filled(module: nn.Module, seed: int = 0) -> Any:
    """The module, with other weights than those it begins with."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data.normal_(0.1, 0.5, generator=generator)
    return module


def encoder(folder: Path) -> Any:
    return modules.Transformer(str(folder))


def dense(*sizes: int, **options: Any) -> Any:
    return filled(modules.Dense(*sizes, **options))


def written(chain: list[nn.Module], folder: Path, **settings: Any) -> Path:
    st.SentenceTransformer(modules=chain, device="cpu", **settings).save(str(folder), create_model_card=False)
    return folder


def theirs(folder: Path, **options: Any) -> torch.Tensor:
    model = st.SentenceTransformer(str(folder), device="cpu")
    return model.encode(TEXTS, convert_to_tensor=True, **options)


def ours(folder: Path, route: str | None = None) -> torch.Tensor:
    model = load_model(folder, route=route)
    tokenizer = load_tokenizer(str(model.checkpoint.folder))
    tokenizer.no_padding()
    ids = [encoding.ids for encoding in tokenizer.encode_batch(TEXTS)]
    vectors: torch.Tensor = model(PackedTokens.from_sequences(ids)).embeddings
    assert vectors.shape[1] == model.checkpoint.embedding_dimension
    lengths = vectors.norm(dim=-1)
    if model.checkpoint.embedding_normalized:
        torch.testing.assert_close(lengths, torch.ones(len(TEXTS)), rtol=0, atol=1e-5)
    return vectors


TOKENS: dict[str, Any] = {"module_input_name": "token_embeddings", "module_output_name": "token_embeddings"}
CHAINS: dict[str, Chain] = {
    "dropout": lambda f: [encoder(f), modules.Pooling(32), modules.Dropout(0.9), modules.Normalize()],
    "layer norm": lambda f: [encoder(f), modules.Pooling(32, "cls"), filled(modules.LayerNorm(32))],
    "layer norm of two poolings": lambda f: [
        encoder(f),
        modules.Pooling(32, ("max", "mean")),
        filled(modules.LayerNorm(64)),
        dense(64, 7),
    ],
    "residual": lambda f: [encoder(f), modules.Pooling(32), dense(32, 32, use_residual=True)],
    "mapped residual": lambda f: [
        encoder(f),
        modules.Pooling(32),
        dense(32, 9, use_residual=True, bias=False),
        modules.Normalize(),
    ],
    "no activation": lambda f: [
        encoder(f),
        modules.Pooling(32),
        dense(32, 9, activation_function=None),
        dense(9, 5, activation_function=nn.GELU()),
    ],
    "dense of tokens": lambda f: [
        encoder(f),
        dense(32, 12, **TOKENS),
        modules.Normalize(**TOKENS),
        modules.Pooling(12, "max"),
    ],
    "residual of tokens": lambda f: [
        encoder(f),
        dense(32, 12, use_residual=True, **TOKENS),
        modules.Pooling(12, ("cls", "mean")),
        dense(24, 6),
    ],
}


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_modules_act_as_in_sentence_transformers(plain: Path, tmp_path: Path, chain: Chain) -> None:
    """Each module that has an effect on inference has the same effect."""
    folder = written(chain(plain), tmp_path)
    torch.testing.assert_close(ours(folder), theirs(folder), rtol=0, atol=2e-5)


def random_chain(folder: Path, seed: int) -> list[nn.Module]:
    """Modules in a random order, which fit together."""
    choose = random.Random(seed)
    chain, width = [encoder(folder)], 32
    for _ in range(choose.randint(0, 2)):
        after = choose.choice([4, 32])
        chain.append(dense(width, after, use_residual=choose.random() < 0.5, **TOKENS))
        width = after
    modes = choose.sample(modules.Pooling.POOLING_MODES, choose.randint(1, 2))
    chain.append(modules.Pooling(width, tuple(modes)))
    width *= len(modes)
    for _ in range(choose.randint(0, 4)):
        kind = choose.choice(["dense", "norm", "dropout", "unit"])
        if kind == "dense":
            after = choose.choice([width, 8])
            activation = choose.choice([None, nn.Tanh(), nn.ReLU(), nn.SiLU()])
            chain.append(
                dense(width, after, activation_function=activation, use_residual=choose.random() < 0.5)
            )
            width = after
        else:
            made = {
                "norm": modules.LayerNorm(width),
                "dropout": modules.Dropout(),
                "unit": modules.Normalize(),
            }
            chain.append(filled(made[kind], seed))
    return chain


@pytest.mark.parametrize("seed", range(12))
def test_random_chains(plain: Path, tmp_path: Path, seed: int) -> None:
    """Whatever the order, and with a truncation in half of them."""
    width = random.Random(seed).choice([None, 3])
    folder = written(random_chain(plain, seed), tmp_path, truncate_dim=width)
    torch.testing.assert_close(ours(folder), theirs(folder), rtol=0, atol=5e-5)


@pytest.mark.parametrize("dimensions", [5, 32, 99])
def test_truncate_dim_shortens_vectors(plain: Path, tmp_path: Path, dimensions: int) -> None:
    """After the normalization: the vectors are not scaled again. A larger value changes nothing."""
    chain = [encoder(plain), modules.Pooling(32), modules.Normalize()]
    folder = written(chain, tmp_path, truncate_dim=dimensions)
    torch.testing.assert_close(ours(folder), theirs(folder), rtol=0, atol=1e-5)
    assert read_checkpoint(folder).embedding_normalized == (dimensions >= 32)


def test_output_hidden_states_changes_no_vector(plain: Path, tmp_path: Path) -> None:
    """sentence-transformers hands the layers to a module that this version refuses by name."""
    folder = written([encoder(plain), modules.Pooling(32, ("cls", "mean"))], tmp_path)
    config = json.loads((folder / "config.json").read_text()) | {"output_hidden_states": True}
    (folder / "config.json").write_text(json.dumps(config))
    torch.testing.assert_close(ours(folder), theirs(folder), rtol=0, atol=1e-5)


# Keys of the files, each with a value.

REFUSED_VALUES: tuple[tuple[str, dict[str, Any], str], ...] = (
    (
        "sentence_bert_config",
        {"config_kwargs": {"num_hidden_layers": 1}},
        r"config_kwargs\.num_hidden_layers: .*into config.json",
    ),
    (
        "sentence_bert_config",
        {"config_args": {"num_hidden_layers": 1}},
        r"config_args\.num_hidden_layers: .*into config.json",
    ),
    ("sentence_bert_config", {"model_kwargs": {"variant": "fp16"}}, r"model_kwargs\.variant: .*; remove it"),
    (
        "sentence_bert_config",
        {"tokenizer_args": {"tokenizer_type": "roberta"}},
        r"tokenizer_args\.tokenizer_type: .*; state the class",
    ),
    (
        "sentence_bert_config",
        {"tokenizer_args": {"mistral_format": True}},
        r"tokenizer_args\.mistral_format: ",
    ),
    ("sentence_bert_config", {"processor_kwargs": {"gguf_file": "a"}}, r"processor_kwargs\.gguf_file: "),
    ("sentence_bert_config", {"model_args": {"variant": "fp16"}}, r"model_args\.variant: .*; remove it"),
    (
        "sentence_bert_config",
        {"processing_kwargs": {"text": {"max_length": 4}}},
        "processing_kwargs: .*max_l",
    ),
    ("sentence_bert_config", {"query_expansion": {"length": 4}}, "query_expansion: .* late interaction"),
    ("sentence_bert_config", {"query_length": 4}, "query_length: .* late interaction"),
    ("sentence_bert_config", {"document_length": 4}, "document_length: .* late interaction"),
    (
        "sentence_bert_config",
        {"modality_config": {"text": {"method": "forward", "method_output_name": "pooler_output"}}},
        "modality_config: expected {'text'.*pooler_output",
    ),
    (
        "sentence_bert_config",
        {"module_output_name": "sentence_embedding"},
        "module_output_name: expected 'to",
    ),
    ("config_sentence_transformers", {"model_type": "MultiVectorEncoder"}, "model_type: expected 'Sentence"),
)
HONOURED_VALUES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("sentence_bert_config", {"max_seq_length": 5}),
    ("sentence_bert_config", {"do_lower_case": True}),
    ("sentence_bert_config", {"tokenizer_args": {"do_lower_case": False}}),
    ("sentence_bert_config", {"processor_kwargs": {"model_max_length": 6}}),
    ("sentence_bert_config", {"model_args": {"attn_implementation": "eager", "add_pooling_layer": False}}),
    ("sentence_bert_config", {"model_kwargs": {"dtype": "float32"}}),
    (
        "sentence_bert_config",
        {"config_kwargs": {"trust_remote_code": True, "use_cache": False}, "unpad_inputs": False},
    ),
    ("sentence_bert_config", {"query_length": None, "processing_kwargs": {}}),
    ("sentence_bert_config", {"transformer_task": "feature-extraction"}),
    ("1_Pooling/config", {"embedding_dimension": 99}),
    ("config_sentence_transformers", {"truncate_dim": 7}),
    ("config_sentence_transformers", {"model_type": "SentenceTransformer"}),
    (
        "config_sentence_transformers",
        {
            "similarity_fn_name": "dot",
            "keep_in_fp32_modules": ["x"],
            "query_prefix": "[Q] ",
            "document_prefix": "[D] ",
            "skiplist_words": ["."],
            "__version__": {"sentence_transformers": "2.2.2"},
        },
    ),
)
# Keys whose values other tests change, by the name of the test.
ELSEWHERE = {
    "prompts": "test_vectors",
    "default_prompt_name": "test_vectors",
    "max_active_dims": "test_sparse_weights",
    "tokenizer_name_or_path": "test_a_tokenizer_elsewhere_is_refused",
    "activation_fn": "test_the_stated_activation_makes_the_scores",
}


def restated(folder: Path, name: str, values: dict[str, Any]) -> Path:
    path = folder / f"{name}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return folder


@pytest.mark.parametrize(("name", "values", "message"), REFUSED_VALUES)
def test_values_that_would_give_other_vectors_are_refused(
    plain: Path, tmp_path: Path, name: str, values: dict[str, Any], message: str
) -> None:
    """With what to do; sentence-transformers itself would read them."""
    folder = restated(written([encoder(plain), modules.Pooling(32)], tmp_path), name, values)
    with pytest.raises(ConfigError, match=rf"{name}\.json: {message}"):
        read_checkpoint(folder)


@pytest.mark.parametrize(("name", "values"), HONOURED_VALUES)
def test_values_count_as_in_sentence_transformers(
    plain: Path, tmp_path: Path, name: str, values: dict[str, Any]
) -> None:
    """Or have no effect there either."""
    folder = restated(written([encoder(plain), modules.Pooling(32)], tmp_path), name, values)
    tokenizer = load_tokenizer(str(folder), sentence=True)
    limit = model_max_length(str(folder), sentence=True)
    tokenizer.enable_truncation(min(limit or 128, 128))
    ids = [encoding.ids for encoding in tokenizer.encode_batch(CASED)]
    tokenizer.no_truncation()
    vectors = load_model(folder)(PackedTokens.from_sequences(ids)).embeddings
    reference = st.SentenceTransformer(str(folder), device="cpu")
    expected = reference.encode(CASED, convert_to_tensor=True)
    torch.testing.assert_close(vectors, expected, rtol=0, atol=1e-5)


def test_every_key_that_matters_has_a_folder() -> None:
    """Of the Transformer's file and the settings; the modules have their chains above."""
    assert set(ELSEWHERE.values()) <= all_names()
    tested = ELSEWHERE.keys() | {key for _, values in HONOURED_VALUES for key in values}
    tested |= {key for _, values, _ in REFUSED_VALUES for key in values}
    for name in ("transformer", "sentence_transformers"):
        rows = [row for row in FILES[name].keys if row.treatment != "without effect"]
        assert {key for row in rows for key in row.names} - tested == set()


# Routers.


def routed(plain: Path, folder: Path, **parameters: Any) -> Path:
    """Encoders of their own for queries and documents, and a normalization after both."""
    routes = {
        "query": [encoder(plain), modules.Pooling(32, "cls")],
        "document": [encoder(plain), modules.Pooling(32, "mean")],
    }
    return written([modules.Router(routes, **parameters), modules.Normalize()], folder)


def projected(plain: Path, folder: Path, **parameters: Any) -> Path:
    """One encoder, and projections of their own for queries and documents."""
    routes = {"query": [dense(32, 8)], "doc": [filled(modules.Dense(32, 8), 1)]}
    router = modules.Router(routes, **parameters)
    return written([encoder(plain), modules.Pooling(32), router], folder)


@pytest.mark.parametrize(
    ("write", "parameters", "route", "task"),
    [
        (routed, {}, None, "document"),
        (routed, {}, "query", "query"),
        (routed, {"default_route": "query"}, None, "document"),
        (routed, {"route_mappings": {(None, "text"): "query"}}, None, None),
        (routed, {"route_mappings": {("document", "text"): "query"}}, None, "document"),
        (routed, {"route_mappings": {("long", None): "document"}}, "long", "long"),
        (projected, {}, None, "doc"),
        (projected, {}, "query", "query"),
    ],
)
def test_a_route_is_chosen_as_by_encode(
    plain: Path,
    tmp_path: Path,
    write: Callable[..., Path],
    parameters: dict[str, Any],
    route: str | None,
    task: str | None,
) -> None:
    """`route` is `task` there; without it, the vectors are those of documents."""
    folder = write(plain, tmp_path, **parameters)
    torch.testing.assert_close(ours(folder, route), theirs(folder, task=task), rtol=0, atol=2e-5)
    (note,) = read_checkpoint(folder, route=route).notes
    assert "of its Router; it also has" in note


@pytest.mark.parametrize("write", [routed, projected])
def test_unknown_keys_of_modules_in_a_router_are_noted(
    plain: Path, tmp_path: Path, write: Callable[..., Path]
) -> None:
    """In the folders of its routes, be the Router in a folder of its own or not."""
    folder = write(plain, tmp_path)
    for kind in ("Pooling", "Dense"):
        for path in folder.glob(f"**/*_{kind}/config.json"):
            path.write_text(json.dumps(json.loads(path.read_text()) | {"gap": 1}))
    notes = key_notes(folder, read_checkpoint(folder).folder, "bert")
    paths = [
        path.relative_to(folder).as_posix()
        for path in folder.glob("**/*.json")
        if '"gap"' in path.read_text()
    ]
    assert len(paths) > 1
    assert sorted(note.partition(": ")[0] for note in notes) == sorted(paths)


def test_an_older_asym(plain: Path, tmp_path: Path) -> None:
    """Before version 5 a Router was called Asym, and had its settings in config.json."""
    folder = projected(plain, tmp_path)
    (folder / "2_Router" / "router_config.json").rename(folder / "2_Router" / "config.json")
    (folder / "2_Router").rename(folder / "2_Asym")
    text = (folder / "modules.json").read_text().replace("2_Router", "2_Asym")
    text = text.replace("base.modules.router.Router", "models.Asym")
    (folder / "modules.json").write_text(text)
    torch.testing.assert_close(ours(folder, "query"), theirs(folder, task="query"), rtol=0, atol=2e-5)


def test_routes_that_are_not_there(plain: Path, tmp_path: Path) -> None:
    """The names are listed."""
    folder = routed(plain, tmp_path / "routed")
    with pytest.raises(OptionError, match="route: expected one of query, document; got 'other'"):
        read_checkpoint(folder, route="other")
    single = written([encoder(plain), modules.Pooling(32)], tmp_path / "single")
    with pytest.raises(OptionError, match=r"route: expected none for .*, which has no Router; got 'query'"):
        read_checkpoint(single, route="query")


@pytest.mark.parametrize("kind", ["CNN", "LSTM", "BoW", "WordEmbeddings", "WordWeights", "StaticEmbedding"])
def test_other_modules_are_refused_by_name(plain: Path, tmp_path: Path, kind: str) -> None:
    """Their class is named."""
    folder = written([encoder(plain), modules.Pooling(32)], tmp_path)
    listing = json.loads((folder / "modules.json").read_text())
    listing[0]["type"] = f"{modules.__name__}.{kind}"
    (folder / "modules.json").write_text(json.dumps(listing))
    with pytest.raises(ConfigError, match=rf"got '.*\.{kind}', which this version does not run"):
        read_checkpoint(folder)
