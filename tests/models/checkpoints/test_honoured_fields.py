"""Config fields that change what is computed change it as in transformers; the rest is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from support.named_tests import all_names
from support.tiny_checkpoints import CLASS_PREFIXES, write_checkpoint
from transformers.activations import ACT2FN

from corpusmill.models import ConfigError, OptionError, PackedTokens, load_model, read_checkpoint
from corpusmill.models.architectures import ARCHITECTURES
from corpusmill.models.checkpoints.key_table import CONFIG
from corpusmill.models.heads import HEADS
from corpusmill.models.layers.activations import ACTIVATIONS

SEQUENCES = [[2, 90, 91, 92, 300, 3], [5], [2, *range(100, 125), 3]]
ACTIVATION_FIELDS = {"distilbert": "activation"}
LESS_USUAL = ("gelu_new", "relu", "silu", "selu", "tanh")
# Names that checkpoints use and this release of transformers does not know.
TORCH_ACTIVATIONS = {"elu": torch.nn.ELU, "selu": torch.nn.SELU}

ODD_SIZES: dict[str, dict[str, Any]] = {
    "bert": {"hidden_size": 21, "num_attention_heads": 3, "intermediate_size": 11, "num_hidden_layers": 3},
    "distilbert": {"dim": 21, "n_heads": 3, "hidden_dim": 11, "n_layers": 3},
    "mobilebert": {
        "hidden_size": 33,
        "embedding_size": 7,
        "intra_bottleneck_size": 15,
        "num_attention_heads": 3,
        "intermediate_size": 11,
        "num_hidden_layers": 3,
    },
    "squeezebert": {
        "hidden_size": 30,
        "embedding_size": 30,
        "num_attention_heads": 3,
        "intermediate_size": 42,
        "q_groups": 2,
        "k_groups": 3,
        "v_groups": 5,
        "post_attention_groups": 6,
        "intermediate_groups": 2,
        "output_groups": 3,
        "num_hidden_layers": 3,
    },
    "convbert": {
        "hidden_size": 30,
        "embedding_size": 13,
        "num_attention_heads": 6,
        "head_ratio": 2,
        "intermediate_size": 11,
        "num_hidden_layers": 3,
    },
}
EACH = [
    *((name, values) for name, values in ODD_SIZES.items()),
    *((name, {"type_vocab_size": 5}) for name in ARCHITECTURES if name != "distilbert"),
    *((name, {"layer_norm_eps": 0.3}) for name in ARCHITECTURES),  # DistilBERT ignores it, as it should
    *((name, {"pad_token_id": 9}) for name in ARCHITECTURES),
    ("distilbert", {"sinusoidal_pos_embds": True}),
    ("distilbert", {"hidden_act": "relu"}),
    ("bert", {"num_attention_heads": 1}),
    *(("squeezebert", {f"{part}_groups": 1}) for part in ("q", "k", "v", "intermediate", "output")),
    *(("squeezebert", {f"{part}_groups": 8}) for part in ("q", "k", "v", "post_attention")),
    ("squeezebert", dict.fromkeys(("q_groups", "k_groups", "v_groups", "intermediate_groups"), 1)),
    ("convbert", {"head_ratio": 1}),
    ("convbert", {"head_ratio": 9}),  # more than there are heads: one remains
    ("convbert", {"head_ratio": 3}),
    ("convbert", {"num_groups": 2, "intermediate_size": 42}),
    ("convbert", {"num_groups": 4, "intermediate_size": 36, "embedding_size": 20}),
    ("convbert", {"conv_kernel_size": 1}),
    ("convbert", {"conv_kernel_size": 3}),
    ("convbert", {"conv_kernel_size": 31}),
    ("mobilebert", {"normalization_type": "layer_norm"}),
    ("mobilebert", {"normalization_type": "layer_norm", "layer_norm_eps": 0.3}),
    ("mobilebert", {"trigram_input": False}),
    ("mobilebert", {"trigram_input": False, "embedding_size": 32}),
    ("mobilebert", {"embedding_size": 32}),
    ("mobilebert", {"use_bottleneck": False}),
    (
        "mobilebert",
        {"use_bottleneck": False, "use_bottleneck_attention": True, "normalization_type": "layer_norm"},
    ),
    ("mobilebert", {"use_bottleneck_attention": True}),
    ("mobilebert", {"use_bottleneck_attention": True, "key_query_shared_bottleneck": False}),
    ("mobilebert", {"key_query_shared_bottleneck": False, "intra_bottleneck_size": 32}),
    ("mobilebert", {"intra_bottleneck_size": 48}),
    ("mobilebert", {"num_feedforward_networks": 1}),
    ("mobilebert", {"num_feedforward_networks": 2, "normalization_type": "layer_norm"}),
    ("mobilebert", {"classifier_activation": False}),
]


def assert_same(folder: Path, reference: Any, results: Any, expected: Any, task: str | None = None) -> None:
    """Results, hidden states and attentions of typed sequences are transformers', by their scales."""
    model = load_model(folder, task)
    task, choices = model.checkpoint.task, {}
    if task == "multiple-choice":
        choices = {"num_choices": 1}
    alone = reference(model.checkpoint)
    kinds = model.checkpoint.config.token_types
    types = [[index % kinds for index in range(len(ids))] for ids in SEQUENCES] if kinds else None
    packed = PackedTokens.from_sequences(SEQUENCES, types)
    ours = results(model, packed)
    record = model(packed, output_hidden_states=True, output_attentions=True, **choices)
    wanted = [alone(ids, types and types[index]) for index, ids in enumerate(SEQUENCES)]
    for name in ours[0]:
        theirs = [expected(output, task)[name] for output in wanted]
        scale = max(float(value.abs().max()) for value in theirs)
        for mine, value in zip(ours, theirs, strict=True):
            torch.testing.assert_close(mine[name], value, rtol=0, atol=1e-5 * scale)
    for index, output in enumerate(wanted):
        for mine_TD, theirs_1LD in zip(record.hidden_states, output.hidden_states, strict=True):
            mine, value = packed.split(mine_TD)[index], theirs_1LD[0]
            torch.testing.assert_close(mine, value, rtol=0, atol=1e-5 * float(value.abs().max()))
        for mine, theirs_1HLL in zip(record.attentions, output.attentions, strict=True):
            value = theirs_1HLL[0]
            torch.testing.assert_close(mine[index], value, rtol=0, atol=1e-5 * float(value.abs().max()))


@pytest.fixture
def _all_activations(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, kind in TORCH_ACTIVATIONS.items():
        monkeypatch.setitem(ACT2FN, name, kind)


def name_of(value: Any) -> str:
    return (
        ",".join(f"{key}={one}" for key, one in value.items())[:60] if isinstance(value, dict) else str(value)
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")  # MobileBERT's, where it has no rest
@pytest.mark.parametrize(("architecture", "values"), EACH, ids=name_of)
def test_a_field_counts_as_in_transformers(
    tmp_path: Path, reference: Any, results: Any, expected: Any, architecture: str, values: dict[str, Any]
) -> None:
    """With the checkpoint's value, not the class's default: in states, attentions and word scores."""
    write_checkpoint(tmp_path, architecture, "fill-mask", **values)
    assert_same(tmp_path, reference, results, expected)


@pytest.mark.slow
@pytest.mark.usefixtures("_all_activations")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("activation", LESS_USUAL)
def test_usual_activations(
    tmp_path: Path, reference: Any, results: Any, expected: Any, architecture: str, activation: str
) -> None:
    """In layers, in word scores and in ConvBERT's classifier."""
    field = ACTIVATION_FIELDS.get(architecture, "hidden_act")
    write_checkpoint(tmp_path, architecture, "fill-mask", **{field: activation})
    assert_same(tmp_path, reference, results, expected)


@pytest.mark.slow
@pytest.mark.usefixtures("_all_activations")
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(
    tmp_path: Path, reference: Any, results: Any, expected: Any, activation: str
) -> None:
    """Through ConvBERT's classifier, which uses it three times."""
    write_checkpoint(tmp_path, "convbert", "text-classification", layers=1, hidden_act=activation)
    assert_same(tmp_path, reference, results, expected)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("labels", [1, 7])
@pytest.mark.parametrize("task", ["text-classification", "token-classification", "multiple-choice"])
def test_any_number_of_labels(
    tmp_path: Path, reference: Any, results: Any, expected: Any, architecture: str, labels: int, task: str
) -> None:
    """Multiple choice has one score whatever the labels are."""
    write_checkpoint(tmp_path, architecture, task, labels=[f"l{index}" for index in range(labels)])
    assert_same(tmp_path, reference, results, expected)


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize(("architecture", "values"), EACH, ids=name_of)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_field_counts_under_every_head(
    tmp_path: Path,
    reference: Any,
    results: Any,
    expected: Any,
    architecture: str,
    values: dict[str, Any],
    seed: int,
) -> None:
    """All heads of the family, other weights."""
    for task in HEADS.keys() - ARCHITECTURES[architecture].lacks:
        folder = tmp_path / task
        write_checkpoint(folder, architecture, task, seed=seed, **values)
        assert_same(folder, reference, results, expected, task)


@pytest.mark.parametrize("activation", [True, False])
@pytest.mark.parametrize(
    "task", ["base", "text-classification", "multiple-choice", "next-sentence-prediction", "pretraining"]
)
def test_mobilebert_pools_with_and_without_a_map(
    tmp_path: Path, reference: Any, results: Any, expected: Any, activation: bool, task: str
) -> None:
    """Google's checkpoint has none: its classifiers read the first token as it is."""
    write_checkpoint(tmp_path, "mobilebert", task, classifier_activation=activation)
    assert_same(tmp_path, reference, results, expected)


@pytest.mark.parametrize(
    "values",
    [
        {"summary_type": "first"},
        {"summary_type": "mean"},
        {"summary_type": "cls_index"},
        {"summary_use_proj": True},
        {"summary_use_proj": True, "summary_activation": "gelu", "summary_type": "first"},
        {"summary_activation": "tanh"},
    ],
    ids=name_of,
)
def test_convbert_summarises_choices_as_its_config_says(
    tmp_path: Path, reference: Any, results: Any, expected: Any, values: dict[str, Any]
) -> None:
    """The last token of the sequence itself where it says nothing."""
    write_checkpoint(tmp_path, "convbert", "multiple-choice", **values)
    assert_same(tmp_path, reference, results, expected)


def changed(folder: Path, **values: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return folder


REFUSED: tuple[tuple[str, dict[str, Any], str], ...] = (
    (
        "mobilebert",
        {"normalization_type": "rms"},
        "normalization_type: expected 'no_norm' or 'layer_norm'",
    ),
    ("mobilebert", {"trigram_input": 1}, "trigram_input: expected true or false, got 1"),
    (
        "mobilebert",
        {"intra_bottleneck_size": 15},
        r"intra_bottleneck_size: .* multiple of num_attention_heads",
    ),
    (
        "mobilebert",
        {"use_bottleneck": False, "hidden_size": 33},
        r"hidden_size: expected a multiple of num_att",
    ),
    (
        "mobilebert",
        {"embedding_size": 64},
        r"embedding_size: expected at most hidden_size \(32\), got 64",
    ),
    (
        "mobilebert",
        {"key_query_shared_bottleneck": False},
        "key_query_shared_bottleneck: expected True, or intra_bottleneck_size as large as hidden_size",
    ),
    (
        "mobilebert",
        {"num_feedforward_networks": 0},
        "num_feedforward_networks: expected a positive number",
    ),
    ("squeezebert", {"q_groups": 5}, "q_groups: expected a divisor of 32, got 5"),
    ("squeezebert", {"output_groups": 0}, "output_groups: expected a positive number, got 0"),
    ("squeezebert", {"embedding_size": 16}, r"embedding_size: expected hidden_size \(32\), got 16"),
    ("convbert", {"num_groups": 3}, "num_groups: expected a divisor of 32, got 3"),
    ("convbert", {"num_groups": 2}, "num_groups: expected a divisor of 69, got 2"),
    ("convbert", {"conv_kernel_size": 4}, "conv_kernel_size: expected an odd number, got 4"),
    ("convbert", {"head_ratio": 0}, "head_ratio: expected a positive number, got 0"),
    (
        "convbert",
        {"hidden_size": 34},
        "hidden_size: expected a multiple of twice the 2 heads that head_ratio",
    ),
    ("convbert", {"is_decoder": True}, "is_decoder: expected False, got True"),
    ("convbert", {"summary_type": "attn"}, "summary_type: expected 'last' or .*, got 'attn'"),
    ("convbert", {"type_vocab_size": 0}, "type_vocab_size: expected a positive number, got 0"),
    ("bert", {"max_position_embeddings": -1}, "max_position_embeddings: expected a positive number"),
    ("bert", {"is_decoder": True}, "is_decoder: expected False, got True, which .*; use the model's own"),
    ("bert", {"add_cross_attention": True}, "add_cross_attention: expected False, got True"),
    ("convbert", {"add_cross_attention": True}, "add_cross_attention: expected False, got True"),
    ("bert", {"position_embedding_type": "relative_key"}, "position_embedding_type: expected 'absolute'"),
    ("bert", {"pruned_heads": {"0": [1]}}, "pruned_heads: expected {}, got"),
    ("bert", {"quantization_config": {}}, "quantization_config: expected no such key, got {}"),
    ("bert", {"per_layer_config": {"0": {}}}, "per_layer_config: expected no such key"),
    ("bert", {"text_config": {}}, "text_config: expected no such key, got {}"),
    ("bert", {"configuration_files": ["config.4.0.0.json"]}, "configuration_files: .*; rename the file"),
    ("bert", {"transformers_weights": "other.safetensors"}, "transformers_weights: .*; rename the w"),
    ("bert", {"problem_type": "ranking"}, "problem_type: expected 'single_label_classification' or"),
    ("convbert", {"summary_proj_to_labels": True}, "summary_proj_to_labels: expected False, got True"),
    (
        "mobilebert",
        {"true_hidden_size": 8},
        r"true_hidden_size: expected intra_bottleneck_size \(16\), or no such key, got 8",
    ),
    ("bert", {"tie_word_embeddings": "no"}, "tie_word_embeddings: expected true or false, got 'no'"),
)


@pytest.mark.parametrize(("architecture", "values", "message"), REFUSED, ids=name_of)
def test_a_value_that_cannot_be_honoured_is_refused(
    tmp_path: Path, architecture: str, values: dict[str, Any], message: str
) -> None:
    """Naming the field, what was expected, and what it says."""
    write_checkpoint(tmp_path, architecture, "base")
    with pytest.raises(ConfigError, match=rf"config\.json: {message}"):
        read_checkpoint(changed(tmp_path, **values))


def test_distilberts_other_names_override_its_own(
    tmp_path: Path, reference: Any, results: Any, expected: Any
) -> None:
    """As in transformers, whose class has them as aliases."""
    write_checkpoint(tmp_path, "distilbert", "fill-mask", width=32, layers=2)
    others = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    changed(tmp_path, dim=64, n_layers=5, n_heads=16, **others)
    assert_same(tmp_path, reference, results, expected)


# Values of keys without effect, where a text is not possible or too usual.
ODD_VALUES: dict[str, Any] = {
    "_attn_implementation": "eager",
    "_attn_implementation_internal": "eager",
    "_experts_implementation": "eager",
    "adapters": {"adapters": {"a": "b"}},
    "attention_chunk_size": 2,
    "attn_implementation": "eager",
    "auto_map": {"AutoModel": "modeling.Own"},
    "base_model_tp_plan": {"encoder": "colwise"},
    "chunk_size_feed_forward": 1,
    "distributed_config": None,
    "embed_dim": 6,
    "embedding_size": 5,
    "experts_implementation": "eager",
    "fusion_config": None,
    "head_dim": 2,
    "hidden_act": "relu",
    "initializer_range": 0.5,
    "intermediate_size": 5,
    "is_causal": True,
    "is_encoder_decoder": False,  # transformers asks for a configuration of generation where it is true
    "label2id": {"one": 0, "two": 1},
    "layer_norm_eps": 0.3,
    "layer_types": ["full_attention", "full_attention"],
    "mtp_layer_types": ["full_attention"],
    "num_heads": 3,
    "position_embedding_type": "relative_key",
    "sliding_window": 2,
    "task_specific_params": {"text-generation": {"max_length": 3}},
    "torch_dtype": "bfloat16",
    "dtype": "float64",
    "type_vocab_size": 7,
}


def odd_value(key: str) -> Any:
    if key in ODD_VALUES:
        return ODD_VALUES[key]
    if key.endswith(("dropout", "dropout_prob")):
        return 0.5
    if key.endswith(("_token_id", "_token_ids")):
        return 7
    true = ("output_", "return_", "use_", "is_", "add_", "do_", "early_", "summary_", "sinusoidal", "tie_")
    return key.startswith(true) or "odd"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_key_without_effect_changes_nothing(
    tmp_path: Path, results: Any, expected: Any, architecture: str
) -> None:
    """Neither here nor in transformers: all of them at once."""
    write_checkpoint(tmp_path, architecture, "fill-mask")
    stated = json.loads((tmp_path / "config.json").read_text())
    keys = [
        key for key in keys_of_config(architecture, "without effect") if key not in KEPT and "." not in key
    ]
    assert len(keys) > 80
    name = f"{CLASS_PREFIXES[architecture]}ForMaskedLM"
    plain = getattr(transformers, name).from_pretrained(tmp_path, attn_implementation="eager").eval()
    changed(tmp_path, **{key: odd_value(key) for key in keys})
    assert read_checkpoint(tmp_path).raw_config != stated
    theirs = getattr(transformers, name).from_pretrained(tmp_path, dtype=torch.float32).eval()
    model = load_model(tmp_path)
    ours = results(model, PackedTokens.from_sequences(SEQUENCES))
    for mine, ids in zip(ours, SEQUENCES, strict=True):
        tokens = torch.tensor([ids])
        with torch.inference_mode():
            wanted, odd = (one(tokens, return_dict=True).logits[0] for one in (plain, theirs))
        torch.testing.assert_close(odd, wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))
        torch.testing.assert_close(mine["logits"], wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_key_without_effect_changes_no_head(
    tmp_path: Path, reference: Any, results: Any, expected: Any, architecture: str
) -> None:
    """The numbers of every head are those of transformers, whose dtype is left as it is."""
    keys = set(keys_of_config(architecture, "without effect")) - KEPT - {"dtype", "torch_dtype", "label2id"}
    for task in HEADS.keys() - ARCHITECTURES[architecture].lacks:
        folder = write_checkpoint(tmp_path / task, architecture, task)
        changed(folder, **{key: odd_value(key) for key in keys if "." not in key})
        assert_same(folder, reference, results, expected, task)


# Keys of which transformers warns, or which it needs as they are.
KEPT = {"transformers_version", "rope_scaling", "rope_theta", "rope_parameters"}
# Keys whose values other tests change, by the name of the test.
ELSEWHERE = {
    "model_type": "test_a_field_counts_as_in_transformers",
    "architectures": "test_the_default_task_comes_from_the_architectures",
    "vocab_size": "test_a_field_counts_as_in_transformers",
    "max_position_embeddings": "test_a_value_that_cannot_be_honoured_is_refused",
    "hidden_act": "test_usual_activations",
    "activation": "test_usual_activations",
    "summary_type": "test_convbert_summarises_choices_as_its_config_says",
    "summary_use_proj": "test_convbert_summarises_choices_as_its_config_says",
    "summary_activation": "test_convbert_summarises_choices_as_its_config_says",
    "hidden_size": "test_distilberts_other_names_override_its_own",
    "num_hidden_layers": "test_distilberts_other_names_override_its_own",
    "num_attention_heads": "test_distilberts_other_names_override_its_own",
    "tie_word_embeddings": "test_an_untied_output_matrix_is_its_own",
    "id2label": "test_any_number_of_labels",
    "label2id": "test_zero_shot_takes_entailment_from_label2id",
    "num_labels": "test_missing_labels_are_named_as_transformers_names_them",
    "tokenizer_class": "test_a_folder_gives_the_tokens_of_the_reference",
    "sbert_ce_default_activation_function": "test_the_stated_activation_makes_the_scores",
    "sentence_transformers": "test_the_stated_activation_makes_the_scores",
}


def keys_of_config(architecture: str, *treatments: str) -> list[str]:
    rows = [row for row in CONFIG if not row.of or architecture in row.of]
    return [key for row in rows for key in row.names if row.treatment in treatments]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_key_that_matters_has_a_folder(architecture: str) -> None:
    """The values of each key that is honoured or refused are tested here or where this says."""
    assert set(ELSEWHERE.values()) <= all_names()
    cases = [values for name, values in EACH if name == architecture]
    cases += [values for name, values, _ in REFUSED if name in (architecture, "bert")]
    tested = {key for values in cases for key in values} | ELSEWHERE.keys()
    assert set(keys_of_config(architecture, "honoured", "refused")) - tested == set()


def test_an_answer_has_a_start_and_an_end(tmp_path: Path) -> None:
    """Two scores a token, so two labels."""
    write_checkpoint(tmp_path, "bert", "question-answering", labels=["a", "b"])
    assert read_checkpoint(tmp_path).task == "question-answering"
    changed(tmp_path, id2label={"0": "a", "1": "b", "2": "c"})
    with pytest.raises(ConfigError, match="num_labels: expected 2 for question-answering, got 3"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("architecture", ["distilbert", "squeezebert", "convbert"])
@pytest.mark.parametrize("task", ["next-sentence-prediction", "pretraining"])
def test_a_head_that_a_family_lacks_is_refused(tmp_path: Path, architecture: str, task: str) -> None:
    """With those it has."""
    write_checkpoint(tmp_path, architecture, "base")
    with pytest.raises(OptionError, match=f"task: expected one of base, .* for {architecture}; got '{task}'"):
        load_model(tmp_path, task)
