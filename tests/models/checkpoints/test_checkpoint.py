"""What a checkpoint's JSON files say, and every way in which they can be refused."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers
from support.tiny_checkpoints import write_checkpoint

from corpusmill.models import CheckpointError, ConfigError, OptionError, load_model, read_checkpoint
from corpusmill.models.architectures import ARCHITECTURES
from corpusmill.models.heads import HEADS

Checkpoints = Callable[[str, str], Path]
WIDTHS = {name: "dim" if name == "distilbert" else "hidden_size" for name in ARCHITECTURES}
WITH_POOLER = ("bert", "mobilebert", "squeezebert")


def edited(folder: Path, tmp_path: Path, **values: Any) -> Path:
    """A folder with the checkpoint's config.json, changed; None removes a key."""
    raw = json.loads((folder / "config.json").read_text()) | values
    (tmp_path / "config.json").write_text(json.dumps({k: v for k, v in raw.items() if v is not None}))
    return tmp_path


def test_a_classifier_is_described_by_its_config(tmp_path: Path) -> None:
    """Labels in order of their ids, problem type, sizes and cost, without reading a weight."""
    write_checkpoint(
        tmp_path,
        "distilbert",
        "text-classification",
        labels=["x", "y", "z"],
        problem_type="regression",
        layers=3,
    )
    (tmp_path / "model.safetensors").unlink()
    checkpoint = read_checkpoint(tmp_path)
    assert (checkpoint.task, checkpoint.default_job_task) == ("text-classification", "text-classification")
    assert checkpoint.architectures == ("DistilBertForSequenceClassification",)
    assert (checkpoint.labels, checkpoint.problem_type) == (("x", "y", "z"), "regression")
    assert (checkpoint.width, checkpoint.embedding_dimension, checkpoint.max_positions) == (32, 32, 128)
    assert (checkpoint.uses_token_types, checkpoint.max_seq_length) == (False, None)
    linear = 2 * (4 * 32 * 32 + 2 * 32 * 69)
    assert checkpoint.flops_per_token(100) == 3 * (linear + 4 * 32 * 100)
    assert checkpoint.raw_config["model_type"] == "distilbert"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("task", ["embedding", "text-classification"])
def test_parameters_are_counted_as_transformers_does(
    checkpoints: Checkpoints, architecture: str, task: str
) -> None:
    """But for a pooler that the task does not need."""
    folder = checkpoints(architecture, task)
    name = "AutoModel" if task == "embedding" else "AutoModelForSequenceClassification"
    model = getattr(transformers, name).from_pretrained(folder)
    unused = 32 * 32 + 32 if task == "embedding" and architecture in WITH_POOLER else 0
    assert read_checkpoint(folder, task).parameters == model.num_parameters() - unused


@pytest.mark.parametrize(
    ("classes", "task", "job_task"),
    [
        (["BertModel"], "base", "embedding"),
        (["BertForMaskedLM"], "fill-mask", "fill-mask"),
        (["BertForPreTraining"], "pretraining", "embedding"),
        (None, "base", "embedding"),
        (["BertForSequenceClassification"], "text-classification", "text-classification"),
    ],
)
def test_the_default_task_comes_from_the_architectures(
    checkpoints: Checkpoints, tmp_path: Path, classes: list[str] | None, task: str, job_task: str
) -> None:
    """A plain encoder loads as one, and embeds in a job."""
    folder = edited(checkpoints("bert", "base"), tmp_path, architectures=classes)
    checkpoint = read_checkpoint(folder)
    assert (checkpoint.task, checkpoint.default_job_task) == (task, job_task)


def test_sentence_transformers_files_make_it_an_embedding_model(tmp_path: Path) -> None:
    """With their own length limit and dimension."""
    write_checkpoint(tmp_path, "bert", "embedding", sentence_transformers=True, projection=12)
    checkpoint = read_checkpoint(tmp_path)
    assert (checkpoint.task, checkpoint.default_job_task) == ("embedding", "embedding")
    assert (checkpoint.max_seq_length, checkpoint.embedding_dimension) == (64, 12)
    assert read_checkpoint(tmp_path, "base").task == "base"


def test_a_head_of_a_later_version_needs_a_named_task(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """Without one it is an error that lists the tasks; with one it loads as that."""
    folder = edited(checkpoints("bert", "base"), tmp_path, architectures=["BertForSomethingNew"])
    with pytest.raises(OptionError, match=r"BertForSomethingNew has a head.*one of base, embedding"):
        read_checkpoint(folder)
    assert read_checkpoint(folder, "base").default_job_task is None


def test_missing_labels_are_named_as_transformers_names_them(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    """LABEL_0 to LABEL_n, two where nothing is said."""
    source = checkpoints("bert", "text-classification")
    folder = edited(source, tmp_path, id2label=None, label2id=None, num_labels=3)
    assert read_checkpoint(folder).labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    assert read_checkpoint(edited(source, tmp_path, id2label=None)).labels == ("LABEL_0", "LABEL_1")


def test_a_checkpoint_record_travels_between_processes(checkpoints: Checkpoints) -> None:
    """A plan made in one process is run in others."""
    checkpoint = read_checkpoint(checkpoints("bert", "base"))
    assert pickle.loads(pickle.dumps(checkpoint)) == checkpoint


@pytest.mark.parametrize("read", [read_checkpoint, load_model])
def test_a_folder_that_is_not_there(read: Any, tmp_path: Path) -> None:
    """Said as such, not as a missing config."""
    with pytest.raises(CheckpointError, match=r"nowhere: expected a folder.*found none"):
        read(tmp_path / "nowhere")


@pytest.mark.parametrize("read", [read_checkpoint, load_model])
def test_an_unknown_task_lists_the_known(checkpoints: Checkpoints, read: Any) -> None:
    """Whatever the checkpoint is."""
    with pytest.raises(OptionError, match=f"task: expected one of {', '.join(HEADS)}; got 'translation'"):
        read(checkpoints("bert", "base"), "translation")


def test_no_config(tmp_path: Path) -> None:
    """The file that is missing is named."""
    with pytest.raises(ConfigError, match=r"config\.json: expected a JSON file, found none"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"), [("{", "does not parse"), ("[]", "expected a JSON object, got list")]
)
def test_a_config_that_is_no_object(tmp_path: Path, text: str, message: str) -> None:
    """Half a file, or another file."""
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_type": "gpt2"}, "model_type: expected one of bert, convbert, distilbert, .*; got 'gpt2'"),
        ({"model_type": None}, "model_type: .*got None"),
        ({"architectures": "BertModel"}, "architectures: expected a list"),
        (
            {"position_embedding_type": "relative_key"},
            "position_embedding_type: expected 'absolute', got 'rel",
        ),
        ({"is_decoder": True}, "is_decoder: expected False, got True, which this version does not support"),
        ({"add_cross_attention": True}, "add_cross_attention: expected False"),
        ({"pruned_heads": {"0": [1]}}, "pruned_heads: expected {}"),
        ({"quantization_config": {"bits": 4}}, "quantization_config: expected no such key"),
        ({"hidden_act": "gelo"}, "hidden_act: expected one of elu, .*; got 'gelo'"),
        ({"hidden_size": None}, "hidden_size: expected an integer, but the key is missing"),
        ({"hidden_size": "32"}, "hidden_size: expected an integer, got '32'"),
        ({"hidden_size": 30}, r"hidden_size: expected a multiple of num_attention_heads \(4\), got 30"),
        ({"num_hidden_layers": 0}, "num_hidden_layers: expected a positive number, got 0"),
        ({"num_hidden_layers": 10**12}, "num_hidden_layers: expected a number up to 1024, got 1000000000000"),
        ({"hidden_size": 2**63}, "hidden_size: expected a number up to 16777216, got 9223372036854775808"),
        ({"layer_norm_eps": "tiny"}, "layer_norm_eps: expected a number, got 'tiny'"),
        ({"problem_type": "guess"}, "problem_type: expected 'single_label.* or 'regression', got 'guess'"),
        ({"id2label": {"0": "a", "2": "b"}}, r"id2label: expected the ids 0 to 1, got \[0, 2\]"),
        ({"id2label": ["a"]}, "id2label: expected an object from number to name"),
    ],
)
def test_values_that_cannot_be_honoured_are_refused(
    checkpoints: Checkpoints, tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    """With the file, the field, what was expected, and what it says."""
    folder = edited(checkpoints("bert", "base"), tmp_path, **values)
    with pytest.raises(ConfigError, match=rf"config\.json: {message}"):
        read_checkpoint(folder)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("key", ["vocab_size", "{width}"])
def test_mandatory_keys(checkpoints: Checkpoints, tmp_path: Path, architecture: str, key: str) -> None:
    """Sizes are never taken from a class's defaults."""
    name = key.format(width=WIDTHS[architecture])
    folder = edited(checkpoints(architecture, "base"), tmp_path, **{name: None})
    with pytest.raises(ConfigError, match=f"{name}: expected an integer, but the key is missing"):
        read_checkpoint(folder)
