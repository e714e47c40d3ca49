"""The table of keys is complete: against the reference libraries' source, what they write, and old files."""

import ast
import importlib.util
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import transformers
from support.named_tests import all_names
from support.tiny_checkpoints import CLASS_PREFIXES, write_checkpoint

from corpusmill.models.architectures import ARCHITECTURES
from corpusmill.models.checkpoints.key_check import key_notes, known
from corpusmill.models.checkpoints.key_table import FILES, File
from corpusmill.pipeline.tokenize.settings import BERT_CLASSES

# Arguments of calls that share a dictionary with the values of a file, and are in no file.
_ARGUMENTS = """
    _configuration_file _from_auto _from_pipeline add_generation_prompt commit_message config from_pipeline
    initial_alphabet kwargs local_files_only max_target_length push_to_hub repo_id return_unused_kwargs
    sanitize_control_tokens save_jinja_files tokenizer use_source_tokenizer
"""
ARGUMENTS = frozenset(_ARGUMENTS.split())
# Arguments of loading. A file may state them for the tokenizer only.
_LOADING = """
    cache_dir code_revision force_download mistral_format proxies revision subfolder token tokenizer_type
    trust_remote_code
"""
LOADING = frozenset(_LOADING.split())
# The files that read a configuration of every architecture.
CONFIG_READERS = (
    "modeling_utils.py",
    "masking_utils.py",
    "integrations/sdpa_attention.py",
    "loss/loss_utils.py",
    *(
        f"pipelines/{name}.py"
        for name in (
            "base",
            "feature_extraction",
            "fill_mask",
            "text_classification",
            "token_classification",
            "zero_shot_classification",
        )
    ),
)
# What these files read of the class instead of the file.
OF_CLASSES = frozenset({"base_model_pp_plan", "base_model_tp_plan", "sub_configs", "__class__"})
# What they read of dictionaries, of other objects called `config`, and of a loaded model.
OF_OTHERS = frozenset(
    {"get", "pop", "setdefault", "validate", "_post_init_done", "base_model_name_or_path", "encoder"}
)
TOKENIZER_READERS = (
    "tokenization_python.py",
    "tokenization_utils_base.py",
    "tokenization_utils_tokenizers.py",
    "models/auto/tokenization_auto.py",
)
TOKENIZERS = tuple(
    f"models/{name}/tokenization_{name}.py"
    for name in (
        "albert",
        "bert",
        "camembert",
        "convbert",
        "deberta_v2",
        "distilbert",
        "gpt2",
        "herbert",
        "mobilebert",
        "mpnet",
        "roberta",
        "squeezebert",
        "xlm_roberta",
    )
)
SENTENCE_MODULES = {
    "Dense": "base/modules/dense.py",
    "Dropout": "sentence_transformer/modules/dropout.py",
    "LayerNorm": "sentence_transformer/modules/layer_norm.py",
    "Normalize": "base/modules/normalize.py",
    "Pooling": "sentence_transformer/modules/pooling.py",
    "SpladePooling": "sparse_encoder/modules/splade_pooling.py",
}
SENTENCE_MODELS = tuple(
    f"{name}/model.py"
    for name in ("base", "sentence_transformer", "sparse_encoder", "cross_encoder", "multi_vector_encoder")
)
COMPONENTS = {
    "normalizer": tokenizers.normalizers.Normalizer,
    "pre_tokenizer": tokenizers.pre_tokenizers.PreTokenizer,
    "post_processor": tokenizers.processors.PostProcessor,
    "decoder": tokenizers.decoders.Decoder,
    "model": tokenizers.models.Model,
}
# Keys of published checkpoints, which older versions and other tools have written.
SEEN = {
    "config": """
        _commit_hash _name_or_path _num_labels adapters architectures attention_probs_dropout_prob auto_map
        bad_words_ids bos_token_id cell chunk_size_feed_forward classifier_dropout
        cross_attention_hidden_size decoder_start_token_id directionality diversity_penalty do_sample
        early_stopping emb_size encoder_no_repeat_ngram_size eos_token_id eos_token_ids finetuning_task
        forced_bos_token_id gradient_checkpointing hidden_act id2label is_decoder is_encoder_decoder label2id
        language layer_norm_eps length_penalty max_length min_length model_type n_positions name
        no_repeat_ngram_size num_beams num_labels num_return_sequences output_attentions output_hidden_states
        output_past output_scores pad_token_id pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers
        pooler_size_per_head pooler_type position_embedding_type pre_trained prefix problem_type pruned_heads
        remove_invalid_values repetition_penalty sbert_ce_default_activation_function sentence_transformers
        sep_token_id structure summary_activation summary_last_dropout summary_type summary_use_proj
        task_specific_params temperature tf_legacy_loss tie_encoder_decoder tie_weights_ tie_word_embeddings
        tokenizer_class top_k top_p torch_dtype torchscript training transformers_version typical_p
        use_bfloat16 use_cache vocab_size xla_device base_model_prefix transformers.js_config
    """,
    "tokenizer": """
        _commit_hash add_prefix_space added_tokens_decoder additional_special_tokens bos_token clean_text
        clean_up_tokenization_spaces cls_token do_basic_tokenize do_lower_case eos_token full_tokenizer_file
        mask_token max_len max_length model_input_names model_max_length name_or_path never_split
        pad_to_multiple_of pad_token pad_token_type_id padding_side sep_token sp_model_kwargs
        special_tokens_map_file stride strip_accents tokenize_chinese_chars tokenizer_class tokenizer_file
        trim_offsets truncation_side truncation_strategy unk_token use_fast vocab_file wordpieces_prefix
    """,
    "transformer": "max_seq_length do_lower_case model_args tokenizer_args config_args",
    "sentence_transformers": "__version__ prompts default_prompt_name similarity_fn_name model_type",
    "modules": "idx name path type kwargs",
}
# Keys that count here, and that only earlier versions of the libraries read.
UNREAD_BY_TOKENIZERS = {"clean_text", "never_split", "wordpieces_prefix", "do_basic_tokenize"}
UNREAD = {
    "config": {"position_embedding_type", "pruned_heads"},
    "tokenizer": UNREAD_BY_TOKENIZERS,
    "tokenizer_arguments": UNREAD_BY_TOKENIZERS,
}
HOMES = {name: f"{name.removeprefix('post_')}s" for name in COMPONENTS}

Place = tuple[str, str]
"""A part of the table, and the architecture or the class of modules; "" for all."""


@cache
def tree(package: str, path: str) -> ast.Module:
    """A file of an installed library, without importing it."""
    spec = importlib.util.find_spec(package)
    assert spec is not None, f"{package} is not installed"
    assert spec.origin is not None
    return ast.parse((Path(spec.origin).parent / path).read_text(encoding="utf-8"))


def classes(module: ast.Module) -> Iterator[ast.ClassDef]:
    return (node for node in module.body if isinstance(node, ast.ClassDef))


def class_of(module: ast.Module, name: str) -> ast.ClassDef:
    return next(node for node in classes(module) if node.name == name)


def methods(*nodes: ast.ClassDef, named: str | None = None) -> list[ast.FunctionDef]:
    found = (item for node in nodes for item in node.body if isinstance(item, ast.FunctionDef))
    return [item for item in found if named in (None, item.name)]


def fields(node: ast.ClassDef) -> set[str]:
    """The fields of a configuration class, which it writes and reads."""
    annotated = (item for item in node.body if isinstance(item, ast.AnnAssign))
    return {ast.unparse(item.target) for item in annotated if "ClassVar" not in ast.unparse(item.annotation)}


def text(node: ast.AST | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def texts(nodes: Iterable[ast.AST | None]) -> set[str]:
    return {found for found in map(text, nodes) if found is not None}


@cache
def keys_of(node: ast.AST, *names: str) -> set[str]:
    """The strings by which dictionaries of these names are read or written."""
    found: list[ast.AST] = []
    for item in ast.walk(node):
        match item:
            case ast.Call(func=ast.Attribute(value=owner, attr="get" | "pop" | "setdefault"), args=[key, *_]):
                found += [key] if ast.unparse(owner) in names else []
            case ast.Subscript(value=owner, slice=key):
                found += [key] if ast.unparse(owner) in names else []
            case ast.Compare(left=key, ops=[ast.In() | ast.NotIn()], comparators=[owner]):
                found += [key] if ast.unparse(owner) in names else []
    return texts(found) - ARGUMENTS


@cache
def attributes(node: ast.AST, *owners: str) -> set[str]:
    """The attributes that code reads of `config`, `self.config` and others; of `self` by their name only."""
    found = set()
    for item in ast.walk(node):
        match item:
            case ast.Attribute(value=ast.Name(id="config") | ast.Attribute(attr="config"), attr=name):
                found.add(name)
            case ast.Call(func=ast.Name(id="getattr" | "hasattr"), args=[owner, key, *_]):
                if ast.unparse(owner).rpartition(".")[2] in ("config", *owners):
                    found |= texts([key])
    return found


def arguments(*nodes: ast.ClassDef) -> set[str]:
    """The named arguments of constructors."""
    made = methods(*nodes, named="__init__")
    return {arg.arg for item in made for arg in (*item.args.args, *item.args.kwonlyargs)} - {"self"}


def lists_of(body: Iterable[ast.stmt], *names: str) -> set[str]:
    """The strings in lists and dictionaries that are assigned to these names."""
    found: set[str] = set()
    for item in body:
        targets = item.targets if isinstance(item, ast.Assign) else [getattr(item, "target", None)]
        if any(target is not None and ast.unparse(target) in names for target in targets):
            found |= texts(ast.walk(item))
    return found


def of_configuration(architecture: str) -> set[str]:
    """transformers' configuration, and what its models, pipelines and sentence-transformers read of it."""
    base = tree("transformers", "configuration_utils.py")
    pretrained = class_of(base, "PreTrainedConfig")
    (own,) = classes(tree("transformers", f"models/{architecture}/configuration_{architecture}.py"))
    written = fields(pretrained) | fields(own) | keys_of(own, "kwargs") | lists_of(own.body, "attribute_map")
    written |= keys_of(base, "kwargs", "config_dict", "d", "output")
    readers = [tree("transformers", path) for path in CONFIG_READERS]
    readers.append(tree("transformers", f"models/{architecture}/modeling_{architecture}.py"))
    readers += [
        tree("sentence_transformers", path)
        for path in ("base/modules/transformer.py", "cross_encoder/model.py")
    ]
    read = attributes(base, "self").union(*map(attributes, readers))
    computed = {item.name for item in methods(pretrained)} | OF_CLASSES | OF_OTHERS
    return (written | read - computed | {"num_labels", "output_attentions"} | of_generation()) - LOADING


@cache
def of_generation() -> set[str]:
    """Parameters of text generation, which old configurations have, and which transformers drops."""
    config = class_of(tree("transformers", "generation/configuration_utils.py"), "GenerationConfig")
    (defaults,) = methods(config, named="_get_default_generation_params")
    return texts(key for node in ast.walk(defaults) if isinstance(node, ast.Dict) for key in node.keys)


@cache
def of_tokenizer() -> set[str]:
    """The base classes, those that this version builds or loads, and the choice of the class."""
    readers = [tree("transformers", path) for path in TOKENIZER_READERS]
    made = [tree("transformers", path) for path in TOKENIZERS]
    owners = ("kwargs", "init_kwargs", "local_kwargs", "tokenizer_config", "self.init_kwargs")
    keys = set().union(*(keys_of(module, *owners) for module in (*readers, *made)))
    keys |= arguments(*(node for module in made for node in classes(module)))
    keys |= lists_of(class_of(readers[1], "PreTrainedTokenizerBase").body, "SPECIAL_TOKENS_ATTRIBUTES")
    return keys - (LOADING - {"trust_remote_code"})


def of_transformer() -> set[str]:
    """The Transformer of sentence-transformers, with the names that its arguments had before."""
    module = tree("sentence_transformers", "base/modules/transformer.py")
    own = class_of(module, "Transformer")
    (loading,) = methods(own, named="_load_init_kwargs")
    older = (item for item in ast.walk(loading) if isinstance(item, ast.Assign))
    keys = lists_of(own.body, "config_keys", "_DEFAULT_CONFIG_VALUES") | keys_of(module, "config")
    return (keys | arguments(own) | lists_of(older, "_OLD_TO_NEW")) - {"model_name_or_path", "method"}


def of_settings() -> set[str]:
    """config_sentence_transformers.json of all models of sentence-transformers."""
    keys: set[str] = set()
    for path in SENTENCE_MODELS:
        module = tree("sentence_transformers", path)
        keys |= keys_of(module, "model_config")
        for item in methods(*classes(module), named="_get_model_config"):
            keys |= keys_of(item, "config")
            keys |= texts(key for part in ast.walk(item) if isinstance(part, ast.Dict) for key in part.keys)
    return keys - {"sentence_transformers", "transformers", "pytorch"}  # versions


def of_module(kind: str) -> set[str]:
    module = tree("sentence_transformers", SENTENCE_MODULES[kind])
    own = class_of(module, kind)
    keys = lists_of(own.body, "config_keys", "config_key_renames") | arguments(own)
    older = lists_of(module.body, "_LEGACY_POOLING_MODE_KWARGS")
    return keys | {key for key in older if key.startswith("pooling_mode_")}


def of_tokenizers_file() -> dict[Place, set[str]]:
    """tokenizer.json, which a compiled library reads and writes: a file of every model, and its classes."""
    models = tokenizers.models
    made = (models.BPE(), models.Unigram(), models.WordLevel(), models.WordPiece())
    written = [json.loads(tokenizers.Tokenizer(model).to_str()) for model in made]
    found: dict[Place, set[str]] = {
        ("tokenizer_json", ""): set().union(*written),
        ("tokenizer_model", ""): set().union(*(content["model"] for content in written)),
    }
    for component, base in COMPONENTS.items():
        home = vars(getattr(tokenizers, HOMES[component])).items()
        kinds = {name for name, kind in home if isinstance(kind, type) and issubclass(kind, base)}
        found["tokenizer_kinds", component] = kinds - {base.__name__}
    return found


@cache
def keys_of_references() -> dict[Place, set[str]]:
    """The keys that the reference libraries read or write, by their place in the table."""
    router = tree("sentence_transformers", "base/modules/router.py")
    models = tree("sentence_transformers", SENTENCE_MODELS[0])
    base = tree("transformers", "tokenization_utils_base.py")
    named = lists_of(class_of(base, "PreTrainedTokenizerBase").body, "SPECIAL_TOKENS_ATTRIBUTES")
    loading = keys_of(tree("transformers", "models/auto/tokenization_auto.py"), "kwargs")
    return {
        **{("config", name): of_configuration(name) for name in ARCHITECTURES},
        **{("module", kind): of_module(kind) for kind in SENTENCE_MODULES},
        **of_tokenizers_file(),
        ("tokenizer", ""): of_tokenizer(),
        ("tokenizer_arguments", ""): of_tokenizer() | loading | LOADING,
        ("special_tokens", ""): named
        | of_tokenizer() & {"extra_special_tokens", "additional_special_tokens"},
        ("transformer", ""): of_transformer(),
        ("sentence_transformers", ""): of_settings(),
        ("modules", ""): keys_of(models, "module_config"),
        ("router", ""): lists_of(class_of(router, "Router").body, "config_keys"),
        ("module", "Router"): keys_of(router, "config") - {"config"},
    }


def lacking(file: File, keys: Iterable[str], kind: str = "") -> set[str]:
    return {key for key in keys if known(file, key, kind) is None}


def without(file: File, key: str) -> File:
    """The same part of the table, from which a key was dropped."""
    keys = (replace(row, names=tuple(name for name in row.names if name != key)) for row in file.keys)
    return replace(file, keys=tuple(keys))


def place_name(place: Place) -> str:
    return "-".join(filter(None, place))


PLACES = [
    *(("config", name) for name in ARCHITECTURES),
    *(("module", kind) for kind in (*SENTENCE_MODULES, "Router")),
    *(("tokenizer_kinds", component) for component in COMPONENTS),
    *((name, "") for name in ("modules", "router", "sentence_transformers", "special_tokens", "tokenizer")),
    *((name, "") for name in ("tokenizer_arguments", "tokenizer_json", "tokenizer_model", "transformer")),
]


@pytest.mark.parametrize("place", PLACES, ids=place_name)
def test_every_key_that_the_references_read_or_write_is_known(place: Place) -> None:
    """By their source: a new version with a new key fails here."""
    name, kind = place
    assert lacking(FILES[name], keys_of_references()[place], kind) == set()


def test_the_walk_covers_every_part_of_the_table() -> None:
    """But files whose keys are words or are all refused, and arguments that are all refused but a few."""
    assert keys_of_references().keys() == set(PLACES)
    assert {name for name, _ in PLACES} | {
        "added_tokens",
        "adapter",
        "config_arguments",
        "model_arguments",
    } == FILES.keys()
    assert "BertTokenizer" in BERT_CLASSES


@pytest.mark.parametrize("place", PLACES, ids=place_name)
def test_the_walk_reports_a_key_that_is_dropped_from_the_table(place: Place) -> None:
    """Each one that counts or is refused: none is known by accident, or unknown to the libraries."""
    name, kind = place
    found, unread = keys_of_references()[place], UNREAD.get(name, set())
    rows = [row for row in FILES[name].keys if row.treatment != "without effect"]
    keys = {key for row in rows for key in row.names if not row.of or kind in row.of} - unread
    assert len(keys) > 0 or kind in ("Dropout", "decoder")
    assert {key for key in keys if key not in found and "*" not in key} == set()
    assert {key for key in keys if not lacking(without(FILES[name], key), found, kind)} == set()
    assert not unread & found, "read again"


# Folders that the libraries write.

TRAINED: dict[str, Any] = {
    "output_hidden_states": True,
    "return_dict": False,
    "chunk_size_feed_forward": 2,
    "problem_type": "multi_label_classification",
    "pad_token_id": 3,
    "bos_token_id": 4,
    "eos_token_id": [5],
    "finetuning_task": "sst2",
    "torch_dtype": "float16",
    "attn_implementation": "eager",
    "is_encoder_decoder": False,
}


def unknown(root: Path, folder: Path | None = None, kind: str = "bert") -> list[str]:
    return [note for note in key_notes(root, folder or root, kind) if "unknown to this version" in note]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_key_that_transformers_writes_is_known(tmp_path: Path, architecture: str) -> None:
    """Of a model with much that is stated, and its tokenizer as it was read and as a slow one."""
    made = write_checkpoint(tmp_path / "made", architecture, "text-classification", layers=1, **TRAINED)
    (tmp_path / "whole").mkdir()
    config = getattr(transformers, f"{CLASS_PREFIXES[architecture]}Config").from_pretrained(made)
    config.to_json_file(tmp_path / "whole" / "config.json", use_diff=False)
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        made, extra_special_tokens={"ent_token": "<ent>"}, truncation_side="left", padding_side="left"
    )
    tokenizer(["a"], truncation=True, max_length=3, padding="max_length")
    tokenizer.chat_template = "{{ messages }}"
    tokenizer.add_tokens(["[new]"])
    tokenizer.save_pretrained(tmp_path / "whole")
    assert unknown(made, kind=architecture) == unknown(tmp_path / "whole", kind=architecture) == []


def test_every_key_that_sentence_transformers_writes_is_known(tmp_path: Path) -> None:
    """Of all modules that run, and of all kinds of models."""
    import sentence_transformers as library  # seconds that other tests of this file save
    from sentence_transformers.sentence_transformer import modules
    from sentence_transformers.sparse_encoder import modules as sparse

    words = str(write_checkpoint(tmp_path / "words", "bert", "fill-mask", width=16, layers=1))
    encoder = modules.Transformer(words, max_seq_length=9, do_lower_case=True, unpad_inputs=False)
    routes = {
        name: [modules.Dense(16, 4, use_residual=True), modules.LayerNorm(4)]
        for name in ("query", "document")
    }
    chain = [
        encoder,
        modules.Pooling(16, ("cls", "mean"), include_prompt=False),
        modules.Dense(32, 16),
        modules.Dropout(0.1),
        modules.Router(routes, route_mappings={("query", "text"): "query"}),
        modules.Normalize(),
    ]
    splade = [
        sparse.Transformer(words, transformer_task="fill-mask"),
        sparse.SpladePooling("sum", "log1p_relu", chunk_size=5),
    ]
    prompts: dict[str, Any] = {"prompts": {"p": "find "}, "default_prompt_name": "p", "device": "cpu"}
    models = {
        "dense": library.SentenceTransformer(
            modules=chain, truncate_dim=3, similarity_fn_name="dot", **prompts
        ),
        "sparse": library.SparseEncoder(modules=splade, max_active_dims=9, **prompts),
        "cross": library.CrossEncoder(words, num_labels=1, device="cpu"),
    }
    for name, model in models.items():
        model.save(str(tmp_path / name), create_model_card=False)
        assert unknown(tmp_path / name) == [], name


# The tests that show what a key does. Other tests of this kind are beside the cases of their files.

KINDS_TEST = "test_a_generic_tokenizer_may_have_parts_of_every_kind"
PROVED = {
    "added_tokens": {"*": "test_added_tokens_are_those_of_transformers"},
    "adapter": {"*": "test_an_adapter_beside_a_model"},
    "config_arguments": {"*": "test_values_that_would_give_other_vectors_are_refused"},
    "model_arguments": {"*": "test_values_that_would_give_other_vectors_are_refused"},
    "module": {
        "activation_function": "test_modules_act_as_in_sentence_transformers",
        "bias": "test_modules_act_as_in_sentence_transformers",
        "dimension": "test_modules_act_as_in_sentence_transformers",
        "in_features": "test_modules_act_as_in_sentence_transformers",
        "include_prompt": "test_prompts_that_would_be_ignored_are_refused",
        "module_input_name": "test_modules_act_as_in_sentence_transformers",
        "module_output_name": "test_modules_act_as_in_sentence_transformers",
        "out_features": "test_modules_act_as_in_sentence_transformers",
        "parameters": "test_a_route_is_chosen_as_by_encode",
        "pooling_mode": "test_modules_act_as_in_sentence_transformers",
        "pooling_mode_*": "test_old_flags_and_new_names_of_pooling",
        "pooling_strategy": "test_sparse_weights",
        "structure": "test_a_route_is_chosen_as_by_encode",
        "types": "test_a_route_is_chosen_as_by_encode",
        "use_residual": "test_modules_act_as_in_sentence_transformers",
    },
    "modules": {
        "path": "test_the_transformer_may_have_a_folder_of_its_own",
        "type": "test_other_modules_are_refused_by_name",
    },
    "router": dict.fromkeys(
        ("allow_empty_key", "default_route", "route_mappings"), "test_a_route_is_chosen_as_by_encode"
    ),
    "tokenizer_arguments": {
        "mistral_format": "test_values_that_would_give_other_vectors_are_refused",
        "tokenizer_type": "test_values_that_would_give_other_vectors_are_refused",
    },
    "tokenizer_model": {
        **{key: KINDS_TEST for row in FILES["tokenizer_model"].keys for key in row.names},
        "dropout": "test_a_tokenizer_that_cuts_at_random_is_refused",
    },
}


@pytest.mark.parametrize("file", PROVED)
def test_every_key_that_matters_is_shown_by_a_test(file: str) -> None:
    """Those of config.json, tokenizers and sentence-transformers' settings have their cases elsewhere."""
    rows = FILES[file].listed or FILES[file].keys
    matter = {key for row in rows for key in row.names if row.treatment != "without effect"}
    assert PROVED[file].keys() == matter
    assert set(PROVED[file].values()) <= all_names()


# Keys that older versions and other programs have written.


@pytest.mark.parametrize("file", SEEN)
def test_keys_of_published_checkpoints_are_known(file: str) -> None:
    """Of BERT, of any version."""
    assert lacking(FILES[file], SEEN[file].split(), "bert" if file == "config" else "") == set()


def test_no_key_has_two_rows() -> None:
    """One fact, one place; and an architecture that a row names exists."""
    kinds = {
        "config": set(ARCHITECTURES),
        "module": {*SENTENCE_MODULES, "Router", "Asym"},
        "tokenizer_kinds": set(COMPONENTS),
    }
    for name, file in FILES.items():
        seen: set[tuple[str, str]] = set()
        for row in file.keys:
            assert set(row.of) <= kinds.get(name, set()), row
            assert row.remark, row
            for place in ((key, kind) for key in row.names for kind in row.of or kinds.get(name, {""})):
                assert place not in seen, f"{file.name}: {place} has two rows"
                seen.add(place)
