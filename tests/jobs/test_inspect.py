"""What a checkpoint is said to hold, also where it is incomplete."""

import json
import shutil
from pathlib import Path
from typing import Any

import fsspec
import pytest
from safetensors.torch import load_file, save_file
from support.tiny_checkpoints import VOCABULARY, write_checkpoint
from transformers import AutoModelForSequenceClassification
from workshop import Workshop

from corpusmill.jobs.inspect import inspect_checkpoint
from corpusmill.pipeline.checkpoints.find import digest


@pytest.fixture
def copied(workshop: Workshop, tmp_path: Path) -> Path:
    """A classifier to spoil."""
    return Path(shutil.copytree(workshop.classifier, tmp_path / "copied"))


def shown(workshop: Workshop, *arguments: object) -> dict[str, Any]:
    """The JSON of a call that ends well."""
    result = workshop.cli("inspect", *arguments, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    return dict(json.loads(result.stdout))


def test_a_classifier_is_described(workshop: Workshop) -> None:
    """Against transformers' own count, and what the checkpoint was written with."""
    found = shown(workshop, workshop.classifier)
    model = AutoModelForSequenceClassification.from_pretrained(workshop.classifier)
    numbers = sum(parameter.numel() for parameter in model.parameters())
    assert found["parameters"] == numbers
    assert found["weights"] == {"F32": numbers}
    assert (found["architecture"], found["head"]) == ("distilbert", ["DistilBertForSequenceClassification"])
    assert (found["task"], found["labels"]) == ("text-classification", ["neg", "pos"])
    assert {name: found["sizes"][name] for name in ("layers", "width", "heads")} == {
        "layers": 1,
        "width": 16,
        "heads": 2,
    }
    assert found["tokenizer"] == {
        "file": "tokenizer.json",
        "model": "WordPiece",
        "vocabulary": len(VOCABULARY),
        "lower_case": True,
        "strip_accents": None,
        "max_length": 128,
    }
    assert found["max_length"] == 128
    assert found["digest"] == digest(workshop.classifier)
    assert found["files"]["model.safetensors"] == (workshop.classifier / "model.safetensors").stat().st_size
    assert (found["problems"], found["unused"], found["modules"]) == ([], [], [])


def test_longer_sequences_cost_more_a_token(workshop: Workshop) -> None:
    """By attention: two products with every other token, in each layer."""
    costs = shown(workshop, workshop.classifier)["flops_per_token"]
    assert set(costs) == {"128", "512"}
    assert costs["512"] - costs["128"] == 4 * 16 * (512 - 128)


def test_sentence_transformers_modules_are_shown(tmp_path: Path) -> None:
    """Pooling, projection, normalization, and their limit of length."""
    folder = write_checkpoint(
        tmp_path, "bert", "embedding", width=16, layers=1, sentence_transformers=True, projection=8
    )
    found = inspect_checkpoint(str(folder))
    assert found.modules == ("pooling mean", "dense 16 -> 8, tanh", "normalize")
    assert (found.task, found.max_length) == ("embedding", 64)


@pytest.mark.parametrize("command", [["--json"], []])
def test_what_is_missing_is_said(workshop: Workshop, copied: Path, command: list[str]) -> None:
    """A tensor that is not there, one too many, and no tokenizer: exit code 0, each named."""
    tensors = load_file(copied / "model.safetensors")
    tensors["surplus.weight"] = tensors.pop("classifier.bias")
    save_file(tensors, copied / "model.safetensors")
    (copied / "tokenizer.json").unlink()
    (copied / "vocab.txt").unlink()
    result = workshop.cli("inspect", copied, *command)
    assert result.exit_code == 0
    for words in (
        "missing: classifier.bias, expected shape [2]",
        "surplus: surplus.weight",
        "expected tokenizer.json or vocab.txt, found neither",
    ):
        assert words in result.stdout
    if command:
        found = json.loads(result.stdout)
        assert (found["unused"], found["tokenizer"], len(found["problems"])) == (None, None, 3)


def test_unknown_keys_are_noted_once(workshop: Workshop, copied: Path) -> None:
    """By inspect, plan and run, which also records the note."""
    config = json.loads((copied / "config.json").read_text()) | {"gap_size": 0}
    (copied / "config.json").write_text(json.dumps(config))
    note = "config.json: unknown to this version, so without effect: gap_size"
    assert workshop.cli("inspect", copied).stdout.count(note) == 1
    workshop.numbered(9)
    job = workshop.job(models=[{"checkpoint": str(copied)}])
    for command in ("plan", "run"):
        result = workshop.cli(command, job)
        assert (result.exit_code, result.stderr.count(note)) == (0, 1), result.output
    assert (workshop.output / "_job/events.jsonl").read_text().count(note) == 1


def test_missing_weights_are_said(workshop: Workshop, copied: Path) -> None:
    """With the foreign files that are there."""
    (copied / "model.safetensors").rename(copied / "pytorch_model.bin")
    found = shown(workshop, copied)
    assert found["weights"] is None
    (problem,) = found["problems"]
    assert "got pytorch_model.bin" in problem


def test_unused_tensors_are_named(workshop: Workshop) -> None:
    """For the task that is asked for."""
    found = shown(workshop, workshop.classifier, "--task", "embedding")
    assert found["task"] == "embedding"
    assert found["unused"] == [
        "classifier.bias",
        "classifier.weight",
        "pre_classifier.bias",
        "pre_classifier.weight",
    ]


def test_a_head_of_its_own_leaves_the_encoder(workshop: Workshop, copied: Path) -> None:
    """One that this version does not know."""
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps(config | {"architectures": ["DistilBertForPoetry"]}))
    found = shown(workshop, copied)
    assert (found["task"], found["architecture"]) == (None, "distilbert")
    assert "DistilBertForPoetry has a head that this version does not know" in found["problems"][0]


def test_every_source_can_be_inspected(workshop: Workshop) -> None:
    """As in a job."""
    fs = fsspec.filesystem("memory")
    for file in filter(Path.is_file, workshop.classifier.rglob("*")):
        fs.pipe_file(f"/inspected/{file.relative_to(workshop.classifier)}", file.read_bytes())
    assert shown(workshop, "memory://inspected")["digest"] == digest(workshop.classifier)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "error: CHECKPOINT: nowhere: no such folder"),
        (["memory://nowhere"], "error: CHECKPOINT: memory://nowhere: no checkpoint there"),
        (["{classifier}", "--task", "poetry"], "error: --task: task: expected one of"),
    ],
)
def test_wrong_usage_exits_with_2(workshop: Workshop, arguments: list[str], words: str) -> None:
    """One line on standard error."""
    given = [argument.replace("{classifier}", str(workshop.classifier)) for argument in arguments]
    result = workshop.cli("inspect", *given)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(words)
    assert len(result.stderr.splitlines()) == 1


def test_a_folder_that_is_no_checkpoint_fails_in_one_line(workshop: Workshop) -> None:
    """Exit code 1."""
    result = workshop.cli("inspect", workshop.folder)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "config.json" in result.stderr


def test_the_text_has_it_all(workshop: Workshop) -> None:
    """For people."""
    text = workshop.cli("inspect", workshop.embedder).stdout
    for words in ("bert, BertModel; task embedding", "layers 1", "parameters", "WordPiece", "pooling mean"):
        assert words in text
    assert "problem:" not in text
