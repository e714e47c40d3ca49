"""Tensors that a model does not have: those of training are left out, others by their names, heads never."""

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.tiny_checkpoints import CLASS_SUFFIXES

from corpusmill.models import (
    ConfigError,
    PackedTokens,
    TensorError,
    check_tensors,
    load_model,
    read_checkpoint,
)
from corpusmill.models.architectures import ARCHITECTURES

Checkpoints = Callable[[str, str], Path]
ALIKE = ("text-classification", "token-classification", "multiple-choice")
TRAINING = (
    "fit_dense.weight",
    "fit_denses.3.bias",
    "loss_fct.weight",
    "loss_fct.pos_weight",
    "criterion.weight",
    "class_weights",
    "bert.embeddings.position_ids",
    "model.embeddings.position_ids",
    "logit_scale",
    "log_vars",
)
OTHERS = (
    "linear.weight",
    "crf.transitions",
    "temperature",
    "mlp.dense.weight",
    "bert.adapters.a.weight",
    "encoder.layer.0.attention.self.query.lora_A.weight",
    "encoder.layer.9.output.dense.bias",
    "dropout.weight",
)


def added(source: Path, target: Path, names: tuple[str, ...], **config: object) -> Path:
    """A copy of a checkpoint with more tensors."""
    target.mkdir(exist_ok=True)
    raw = json.loads((source / "config.json").read_text()) | config
    (target / "config.json").write_text(json.dumps(raw))
    tensors = load_file(source / "model.safetensors") | {name: torch.ones(2) for name in names}
    save_file(tensors, target / "model.safetensors")
    return target


def test_tensors_of_training_are_left_out(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """With a note that names them, and with the same results."""
    source = checkpoints("bert", "text-classification")
    folder = added(source, tmp_path, TRAINING)
    plan = check_tensors(read_checkpoint(folder))
    notes = " ".join(plan.notes)
    for name in TRAINING:
        assert name in notes or name == "bert.embeddings.position_ids"
    packed = PackedTokens.from_sequences([[2, 90, 91, 3]])
    assert torch.equal(load_model(folder)(packed).logits, load_model(source)(packed).logits)


@pytest.mark.parametrize("name", OTHERS)
def test_other_tensors_need_a_pattern(checkpoints: Checkpoints, tmp_path: Path, name: str) -> None:
    """The message has the line for the job file, and the line works."""
    folder = added(checkpoints("bert", "base"), tmp_path, (name,))
    checkpoint = read_checkpoint(folder)
    with pytest.raises(TensorError, match=f"surplus: {re.escape(name)}") as caught:
        check_tensors(checkpoint)
    advised = json.loads(str(caught.value).rpartition("ignore_tensors: ")[2])
    plan = check_tensors(checkpoint, advised)
    assert plan.unused == (name.removeprefix("bert."),)
    assert plan.notes == (f"left out {name}: ignore_tensors has {advised[0]!r}",)
    with pytest.raises(TensorError, match="surplus"):
        check_tensors(checkpoint, ["something.*"])
    assert load_model(folder, ignore_tensors=advised).checkpoint.task == "base"


def test_a_pattern_leaves_no_part_of_the_model_out(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """It is for surplus tensors only."""
    folder = added(checkpoints("bert", "base"), tmp_path, ("linear.weight",))
    model = load_model(folder, ignore_tensors=["*"])
    assert model(PackedTokens.from_sequences([[2, 3]])).last_hidden_state.shape == (2, 32)


@pytest.mark.parametrize(
    ("architecture", "own", "task"),
    [
        (architecture, own, task)
        for architecture in ARCHITECTURES
        for own, task in itertools.permutations(ALIKE, 2)
    ],
)
def test_a_classifier_is_not_run_as_another(
    checkpoints: Checkpoints, tmp_path: Path, architecture: str, own: str, task: str
) -> None:
    """Classifiers of texts, tokens and choices have equal names: shapes cannot tell them apart."""
    source = checkpoints(architecture, own)
    tensors = load_file(checkpoints(architecture, task) / "model.safetensors")
    raw = json.loads((source / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(raw))
    save_file(tensors, tmp_path / "model.safetensors")  # all that the task needs is there
    with pytest.raises(TensorError, match=f"got the head of .*{CLASS_SUFFIXES[own]} .*use task: {own}, or"):
        check_tensors(read_checkpoint(tmp_path, task))
    check_tensors(read_checkpoint(source, own))
    check_tensors(read_checkpoint(source, "embedding"))


@pytest.mark.parametrize("task", ["text-classification", "token-classification", "multiple-choice"])
def test_a_part_of_the_head_is_not_dropped(checkpoints: Checkpoints, tmp_path: Path, task: str) -> None:
    """A classifier with a second layer is another one; its names begin as those of the family's head."""
    folder = added(checkpoints("bert", task), tmp_path, ("classifier.hidden.weight",))
    with pytest.raises(TensorError, match=r"surplus: classifier\.hidden\.weight"):
        check_tensors(read_checkpoint(folder))
    assert "classifier.hidden.weight" in check_tensors(read_checkpoint(folder, "embedding")).unused


RUNS: dict[str, set[str]] = {
    "base": set(),
    "text-classification": {"text-classification"},
    "token-classification": {"token-classification"},
    "question-answering": {"question-answering"},
    "multiple-choice": {"multiple-choice"},
    "fill-mask": {"fill-mask", "sparse-embedding"},
    "next-sentence-prediction": {"next-sentence-prediction"},
    "pretraining": {"pretraining", "fill-mask", "sparse-embedding", "next-sentence-prediction"},
}
"""The heads that a checkpoint has, by what it was made for; the encoder runs from each."""


@pytest.mark.parametrize("own", RUNS)
@pytest.mark.parametrize("architecture", ["bert", "distilbert"])
def test_every_head_for_every_task(checkpoints: Checkpoints, architecture: str, own: str) -> None:
    """A task runs with the checkpoint's own head, or with none; any other is refused."""
    lacks = ARCHITECTURES[architecture].lacks
    if own in lacks:
        return
    for task in {"base", "embedding", *itertools.chain(*RUNS.values())} - set(lacks):
        if task in RUNS[own] | {"base", "embedding"}:
            check_tensors(read_checkpoint(checkpoints(architecture, own), task))
        else:
            with pytest.raises(
                (TensorError, ConfigError), match=r"no trained head|got the head of|num_labels"
            ):
                check_tensors(read_checkpoint(checkpoints(architecture, own), task))


def test_tensors_decide_where_the_class_says_nothing(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """The class of bert-base-uncased is BertForMaskedLM, and it has the head for sentences too."""
    folder = added(checkpoints("bert", "pretraining"), tmp_path, (), architectures=["BertForMaskedLM"])
    check_tensors(read_checkpoint(folder, "next-sentence-prediction"))
    other = added(checkpoints("bert", "text-classification"), tmp_path, (), architectures=["BertWithMyHead"])
    check_tensors(read_checkpoint(other, "text-classification"))


def test_fewer_names_than_labels(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """The number counts, without the names, as in transformers 5, and a note says so."""
    source = checkpoints("bert", "text-classification")
    folder = added(source, tmp_path, (), num_labels=3, id2label={"0": "a", "1": "b"})
    checkpoint = read_checkpoint(folder)
    assert checkpoint.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    (note,) = checkpoint.notes
    assert note.startswith("config.json: id2label has 2 names, but num_labels is 3")
    assert load_model(folder)(PackedTokens.from_sequences([[2, 3]])).logits.shape == (1, 3)
