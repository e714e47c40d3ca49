"""The table of keys is complete: against the source of the reference libraries, and real checkpoints."""

import ast
import importlib.util
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

from corpusmill.models.architectures import ARCHITECTURES
from corpusmill.models.checkpoints.key_check import known
from corpusmill.models.checkpoints.key_table import FILES
from corpusmill.pipeline.tokenize.settings import BERT_CLASSES

# Arguments of calls that share a dictionary with the values of a file, and are in no file.
_ARGUMENTS = """
    _configuration_file _from_auto _from_pipeline add_generation_prompt cache_dir code_revision commit_message
    config force_download from_pipeline initial_alphabet kwargs local_files_only max_target_length
    mistral_format proxies push_to_hub repo_id return_unused_kwargs revision sanitize_control_tokens
    save_jinja_files subfolder token tokenizer tokenizer_type trust_remote_code use_source_tokenizer
"""
ARGUMENTS = frozenset(_ARGUMENTS.split())
# The files of transformers that read a configuration of every architecture.
READERS = (
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
# What these files read of other architectures, and of the class instead of the file.
OF_CLASSES = {"base_model_pp_plan", "base_model_tp_plan", "__class__"}
TOKENIZER_READERS = (
    "tokenization_utils_base.py",
    "tokenization_utils_tokenizers.py",
    "models/auto/tokenization_auto.py",
    *(
        f"models/{name}/tokenization_{name}.py"
        for name in ("bert", "convbert", "distilbert", "mobilebert", "squeezebert")
    ),
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


@cache
def tree(package: str, path: str) -> ast.Module:
    """A file of an installed library, without importing it."""
    spec = importlib.util.find_spec(package)
    assert spec is not None, f"{package} is not installed"
    assert spec.origin is not None
    return ast.parse((Path(spec.origin).parent / path).read_text(encoding="utf-8"))


def classes(module: ast.Module) -> Iterator[ast.ClassDef]:
    return (node for node in module.body if isinstance(node, ast.ClassDef))


def fields(node: ast.ClassDef) -> set[str]:
    """The fields of a configuration class, which it writes and reads."""
    annotated = (item for item in node.body if isinstance(item, ast.AnnAssign))
    return {ast.unparse(item.target) for item in annotated if "ClassVar" not in ast.unparse(item.annotation)}


def methods(node: ast.ClassDef) -> set[str]:
    return {item.name for item in node.body if isinstance(item, ast.FunctionDef)}


def text(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def keys_of(node: ast.AST, names: Iterable[str]) -> set[str]:
    """The strings by which dictionaries of these names are read or written."""
    found: set[str | None] = set()
    for item in ast.walk(node):
        match item:
            case ast.Call(func=ast.Attribute(value=owner, attr="get" | "pop" | "setdefault"), args=[key, *_]):
                found |= {text(key)} if ast.unparse(owner) in names else set()
            case ast.Subscript(value=owner, slice=key):
                found |= {text(key)} if ast.unparse(owner) in names else set()
            case ast.Compare(left=key, ops=[ast.In() | ast.NotIn()], comparators=[owner]):
                found |= {text(key)} if ast.unparse(owner) in names else set()
    return {key for key in found if key is not None} - ARGUMENTS


def attributes_of_config(node: ast.AST) -> set[str]:
    """The attributes that code reads of `config` and `….config`."""
    found = set()
    for item in ast.walk(node):
        match item:
            case ast.Attribute(value=ast.Name(id="config") | ast.Attribute(attr="config"), attr=name):
                found.add(name)
            case ast.Call(func=ast.Name(id="getattr" | "hasattr"), args=[owner, key, *_]):
                name = text(key)
                if name is not None and ast.unparse(owner).rpartition(".")[2] == "config":
                    found.add(name)
    return found


def arguments(module: ast.Module) -> set[str]:
    """The named arguments of the constructors in a file."""
    made = (
        item
        for node in classes(module)
        for item in node.body
        if isinstance(item, ast.FunctionDef) and item.name == "__init__"
    )
    names = {arg.arg for item in made for arg in (*item.args.args, *item.args.kwonlyargs)}
    return names - {"self", "args", "kwargs"}


def lists_of(module: ast.Module, *names: str) -> set[str]:
    """The strings in lists and dictionaries that classes assign to these names."""
    found = set()
    for node in classes(module):
        for item in node.body:
            targets = (
                item.targets
                if isinstance(item, ast.Assign)
                else [item.target]
                if isinstance(item, ast.AnnAssign)
                else []
            )
            if any(ast.unparse(target) in names for target in targets):
                found |= {text(part) for part in ast.walk(item)} - {None}
    return {name for name in found if name is not None}


def lacking(file: str, keys: Iterable[str], kind: str = "") -> set[str]:
    return {key for key in keys if known(FILES[file], key, kind) is None}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_key_of_a_configuration_is_known(architecture: str) -> None:
    """transformers' classes and the code that reads them, generation and pipelines included."""
    base = tree("transformers", "configuration_utils.py")
    (pretrained,) = (node for node in classes(base) if node.name == "PreTrainedConfig")
    (own,) = classes(tree("transformers", f"models/{architecture}/configuration_{architecture}.py"))
    modeling = tree("transformers", f"models/{architecture}/modeling_{architecture}.py")
    computed = methods(pretrained) | OF_CLASSES
    written = fields(pretrained) | fields(own) | keys_of(own, {"kwargs"})
    written |= keys_of(base, {"kwargs", "config_dict", "d", "output"})
    names = {text(key) for key in ast.walk(own) if text(key)} & {"hidden_size", "num_hidden_layers"}
    read = attributes_of_config(modeling).union(
        *(attributes_of_config(tree("transformers", path)) for path in READERS)
    )
    assert len(written) > 30, "the walk finds nothing any more"
    assert lacking("config", written | names | read - computed, architecture) == set()


def test_every_parameter_of_text_generation_is_known() -> None:
    """Old configurations have them, and transformers drops them."""
    (config,) = (
        node
        for node in classes(tree("transformers", "generation/configuration_utils.py"))
        if node.name == "GenerationConfig"
    )
    (defaults,) = (
        item
        for item in config.body
        if isinstance(item, ast.FunctionDef) and item.name == "_get_default_generation_params"
    )
    keys = {
        text(key) for node in ast.walk(defaults) if isinstance(node, ast.Dict) for key in node.keys if key
    }
    assert len(keys) > 20
    assert lacking("config", {key for key in keys if key}, "bert") == set()


def test_every_key_of_a_tokenizer_is_known() -> None:
    """The base classes, those of the architectures, and the choice of the class."""
    modules = [tree("transformers", path) for path in TOKENIZER_READERS]
    owners = {"kwargs", "init_kwargs", "local_kwargs", "tokenizer_config", "self.init_kwargs"}
    keys = set().union(*(keys_of(module, owners) for module in modules))
    keys |= set().union(*(arguments(module) for module in modules[3:]))
    assert {"model_max_length", "do_lower_case", "extra_special_tokens"} <= keys
    assert lacking("tokenizer", keys - ARGUMENTS) == set()
    assert "BertTokenizer" in BERT_CLASSES


def test_every_key_of_sentence_transformers_is_known() -> None:
    """Of the Transformer, its models, and the modules that run."""
    transformer = tree("sentence_transformers", "base/modules/transformer.py")
    keys = lists_of(transformer, "config_keys", "_DEFAULT_CONFIG_VALUES")
    keys |= keys_of(transformer, {"config"}) | {
        "model_args", "tokenizer_args", "config_args", "max_seq_length", "do_lower_case",
        "tokenizer_name_or_path",
    }  # fmt: skip
    assert "modality_config" in keys
    assert lacking("transformer", keys - {"method"}) == set()
    models = [tree("sentence_transformers", path) for path in SENTENCE_MODELS]
    settings = set().union(*(keys_of(model, {"model_config"}) for model in models))
    for model in models:
        settings |= {
            key
            for node in classes(model)
            for item in node.body
            if isinstance(item, ast.FunctionDef) and item.name == "_get_model_config"
            for part in ast.walk(item)
            if isinstance(part, ast.Dict)
            for key in map(text, filter(None, part.keys))
            if key and key not in ("sentence_transformers", "transformers", "pytorch")
        }
        settings |= {
            key
            for node in classes(model)
            for item in node.body
            if isinstance(item, ast.FunctionDef) and item.name == "_get_model_config"
            for key in keys_of(item, {"config"})
        }
    assert {"prompts", "truncate_dim", "max_active_dims", "activation_fn"} <= settings
    assert lacking("sentence_transformers", settings - {"query_length"}) == set()
    listing = keys_of(models[0], {"module_config"})
    assert {"type", "path"} <= listing
    assert lacking("modules", listing) == set()


@pytest.mark.parametrize("kind", SENTENCE_MODULES)
def test_every_key_of_a_module_is_known(kind: str) -> None:
    """Under its old names too."""
    module = tree("sentence_transformers", SENTENCE_MODULES[kind])
    keys = lists_of(module, "config_keys", "config_key_renames")
    assert keys
    assert lacking("module", keys, kind) == set()


def test_every_key_of_a_router_is_known() -> None:
    """The listing of routes, and its parameters."""
    module = tree("sentence_transformers", "base/modules/router.py")
    assert lacking("router", lists_of(module, "config_keys")) == set()
    assert lacking("module", keys_of(module, {"config"}) - {"config"}, "Router") == set()


@pytest.mark.parametrize("file", SEEN)
def test_keys_of_published_checkpoints_are_known(file: str) -> None:
    """Of BERT, of any version."""
    assert lacking(file, SEEN[file].split(), "bert" if file == "config" else "") == set()


def test_no_key_has_two_rows() -> None:
    """One fact, one place; and an architecture that a row names exists."""
    kinds = {"config": set(ARCHITECTURES), "module": {*SENTENCE_MODULES, "Router", "Asym"}}
    for name, file in FILES.items():
        seen: set[tuple[str, str]] = set()
        for row in file.keys:
            assert set(row.of) <= kinds.get(name, set()), row
            assert row.remark, row
            for place in ((key, kind) for key in row.names for kind in row.of or kinds.get(name, {""})):
                assert place not in seen, f"{file.name}: {place} has two rows"
                seen.add(place)
