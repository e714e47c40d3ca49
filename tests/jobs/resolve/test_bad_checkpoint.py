"""Unusable checkpoints, tasks and options through the command line."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.tiny_checkpoints import write_checkpoint
from workshop import Workshop

Spoil = Callable[[Path], None]
ANYTHING_BUT_CPU = not torch.cuda.is_available()


def edit_config(**values: Any) -> Spoil:
    def spoil(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return spoil


def edit_tensors(change: Callable[[dict[str, torch.Tensor]], Any]) -> Spoil:
    def spoil(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return spoil


def remove(name: str) -> Spoil:
    return lambda folder: (folder / name).unlink()


def cut(name: str) -> Spoil:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-100])


def without_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "vocab.txt"):
        (folder / name).unlink()


def larger_tokenizer(folder: Path) -> None:
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    vocab = tokenizer["model"]["vocab"]
    vocab["onemore"] = len(vocab)
    path.write_text(json.dumps(tokenizer))


SPOILED: dict[str, tuple[Spoil, tuple[str, ...]]] = {
    "no folder": (
        shutil.rmtree,
        ("no such folder", "expected one with config.json and model.safetensors, or hf://"),
    ),
    "no config.json": (remove("config.json"), ("config.json", "expected a JSON file, found none")),
    "broken config.json": (cut("config.json"), ("config.json", "expected JSON", "does not parse")),
    "unknown architecture": (
        edit_config(model_type="gpt2"),
        ("config.json", "model_type: expected one of", "distilbert", "got 'gpt2'"),
    ),
    "unsupported activation": (edit_config(activation="swish9"), ("config.json", "activation", "swish9")),
    "missing tensor": (
        edit_tensors(lambda tensors: tensors.pop("classifier.bias")),
        ("1 differences", "missing: classifier.bias, expected shape [2]"),
    ),
    "surplus tensor": (
        edit_tensors(lambda tensors: tensors.update({"extra.weight": torch.zeros(3)})),
        ("1 differences", "surplus: extra.weight"),
    ),
    "wrong shape": (
        edit_tensors(lambda tensors: tensors.update({"classifier.bias": torch.zeros(7)})),
        ("wrong shape: classifier.bias, expected [2], got [7]",),
    ),
    "no weights": (remove("model.safetensors"), ("model.safetensors",)),
    "weights cut short": (cut("model.safetensors"), ("model.safetensors",)),
    "no tokenizer": (
        without_tokenizer,
        ("expected tokenizer.json or vocab.txt, found neither", "save the tokenizer"),
    ),
    "broken tokenizer": (cut("tokenizer.json"), ("the tokenizer cannot be read", "save the tokenizer again")),
    "broken tokenizer config": (cut("tokenizer_config.json"), ("tokenizer_config.json", "expected JSON")),
    "another model's tokenizer": (
        larger_tokenizer,
        ("the tokenizer has", "expected the tokenizer that the model"),
    ),
}


@pytest.mark.parametrize(("spoil", "words"), SPOILED.values(), ids=SPOILED)
def test_an_unusable_checkpoint_is_refused_in_words(
    workshop: Workshop, tmp_path: Path, spoil: Spoil, words: tuple[str, ...]
) -> None:
    """Exit code 2, the model's field, where, expected, got; nothing is written."""
    workshop.numbered(4)
    checkpoint = tmp_path / "spoiled"
    shutil.copytree(workshop.classifier, checkpoint)
    spoil(checkpoint)
    good = {"checkpoint": str(workshop.embedder), "name": "a"}
    job = workshop.job(models=[good, {"checkpoint": str(checkpoint), "name": "b"}])
    result = workshop.cli("run", job)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"error: {job}: models[1].checkpoint: ")
    assert str(checkpoint) in result.stderr
    assert "Traceback" not in result.stderr
    assert [word for word in words if word not in result.stderr] == []
    assert not workshop.output.exists()


@dataclass(frozen=True)
class Wrong:
    """Changes to a job of one classifier, and the field and words of the message."""

    changes: dict[str, Any]
    field: str
    words: tuple[str, ...]


WRONG = {
    "unknown task": Wrong(
        {"task": "poetry"}, "models[0].task", ("expected one of embedding", "got 'poetry'")
    ),
    "max_length above positions": Wrong(
        {"max_length": 129}, "models[0].max_length", ("expected at most", "128 positions", "got 129")
    ),
    "GPU without a share": Wrong(
        {"device": "cuda", "pool": {"gpus": 0}}, "models[0].pool.gpus", ("expected a share of a GPU", "got 0")
    ),
    "option of another task": Wrong(
        {"task": "embedding", "top_k": 2},
        "models[0].top_k",
        ("is an option of", "text-classification", "the task of this model is embedding"),
    ),
    "another scheme": Wrong(
        {"checkpoint": "nowhere://bucket/model"},
        "models[0].checkpoint",
        ("nowhere://: no file system for it", "expected a local path, s3://, hf://"),
    ),
    "nothing at the URL": Wrong(
        {"checkpoint": "memory://nothing/here"},
        "models[0].checkpoint",
        ("memory://nothing/here: no checkpoint there", "expected a folder with config.json"),
    ),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_setting_that_does_not_fit_the_checkpoint_is_refused(workshop: Workshop, wrong: Wrong) -> None:
    """Under the setting's own field."""
    workshop.numbered(4)
    model = {"checkpoint": str(workshop.classifier)} | wrong.changes
    result = workshop.cli("run", workshop.job(models=[model]))
    assert result.exit_code == 2
    assert f": {wrong.field}: " in result.stderr
    assert [word for word in wrong.words if word not in result.stderr] == []
    assert not workshop.output.exists()


@pytest.mark.skipif(not ANYTHING_BUT_CPU, reason="this machine has a GPU")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"device": "cuda"}, "models[0].device: expected a CUDA device, found none; use device: cpu or auto"),
        (
            {"dtype": "float16"},
            "models[0].dtype: float16 needs a CUDA device; expected auto, float32 or bfloat16",
        ),
    ],
)
def test_what_needs_a_gpu_is_refused_without_one(
    workshop: Workshop, changes: dict[str, Any], words: str
) -> None:
    """Rather than run on something else."""
    workshop.numbered(4)
    result = workshop.cli("run", workshop.job(models=[{"checkpoint": str(workshop.classifier)} | changes]))
    assert result.exit_code == 2
    assert words in result.stderr


def test_several_models_need_names_and_columns_that_differ(workshop: Workshop) -> None:
    """Every model without a name is told, also beside one that cannot be loaded."""
    workshop.numbered(4)
    plain = {"checkpoint": str(workshop.classifier)}
    result = workshop.cli(
        "run", workshop.job(models=[{"checkpoint": "nowhere"}, plain, plain | {"name": "b"}])
    )
    assert result.exit_code == 2
    assert "models[0].name: is required when there are several models" in result.stderr
    assert "models[1].name: is required when there are several models" in result.stderr
    assert "models[2].name" not in result.stderr

    result = workshop.cli("run", workshop.job(models=[plain | {"name": "same"}, plain | {"name": "same"}]))
    assert result.exit_code == 2
    assert "models[1].name: output column 'same_label' already exists (models[0])" in result.stderr


def test_a_result_may_not_take_the_name_of_a_kept_column(workshop: Workshop) -> None:
    """Kept columns keep their names, so the model needs one."""
    workshop.rows([{"id": 1, "text": "a", "label": "x"}])
    fields: dict[str, Any] = {
        "models": [{"checkpoint": str(workshop.classifier)}],
        "input__keep": ["id", "label"],
    }
    result = workshop.cli("run", workshop.job(**fields))
    assert result.exit_code == 2
    assert (
        "models[0].name: output column 'label' already exists (input.keep); give the model another name"
        in result.stderr
    )
    assert workshop.cli("run", workshop.job(**fields, models__0__name="mood")).exit_code == 0
    assert workshop.read().column_names == ["id", "label", "mood_label", "mood_score"]


def pair_reader(folder: Path, task: str, **options: Any) -> dict[str, Any]:
    """A model of a task of pairs, named after it."""
    write_checkpoint(folder / task, "bert", task, width=16, layers=1, **options)
    return {"checkpoint": str(folder / task), "task": task, "name": task.replace("-", "_")}


PAIRS: dict[str, tuple[tuple[str, ...], str | None, str]] = {
    "nobody reads it": (
        ("embedding",),
        "title",
        "expected no second text column: embedding reads one text per row",
    ),
    "needed": (
        ("embedding", "next-sentence-prediction"),
        None,
        "is required by next-sentence-prediction: name the column with the second text",
    ),
    "choices needed": (
        ("multiple-choice",),
        None,
        "is required by multiple-choice: name the column with the choices, lists of texts",
    ),
    "texts for choices": (("multiple-choice",), "title", "column 'title': expected lists of text"),
    "choices for a text": (
        ("next-sentence-prediction",),
        "choices",
        "column 'choices': expected text (string,",
    ),
    "one for both": (
        ("next-sentence-prediction", "multiple-choice"),
        "choices",
        "next-sentence-prediction and multiple-choice cannot share a second column: only one reads lists",
    ),
}


@pytest.mark.parametrize(("tasks", "column", "words"), PAIRS.values(), ids=PAIRS)
def test_a_second_column_is_what_the_models_read(
    workshop: Workshop, tmp_path: Path, tasks: tuple[str, ...], column: str | None, words: str
) -> None:
    """Not there in vain, there where one needs it, and of its kind."""
    workshop.rows([{"id": 1, "text": "a", "title": "b", "choices": ["c", "d"]}])
    models = [pair_reader(tmp_path / "made", task) for task in tasks]
    result = workshop.cli("run", workshop.job(models=models, input__text_pair=column))
    assert result.exit_code == 2
    assert f"input.text_pair: {words}" in result.stderr


def test_models_of_one_text_run_beside_one_of_pairs(workshop: Workshop, tmp_path: Path) -> None:
    """The second column's nulls are no matter of theirs."""
    rows = [{"id": 1, "text": "a", "title": "b"}, {"id": 2, "text": "the", "title": None}]
    workshop.rows(rows)
    models = [pair_reader(tmp_path / "made", task) for task in ("embedding", "next-sentence-prediction")]
    workshop.run(models=models, input__text_pair="title")
    found = workshop.read()
    assert found["embedding_embedding"].null_count == 0
    assert found["next_sentence_prediction_score"].is_null().to_pylist() == [False, True]


def test_surplus_tensors_in_a_job(workshop: Workshop, tmp_path: Path) -> None:
    """A job names those that it can do without; a note says which are left out, also in the events."""
    workshop.numbered(4)
    checkpoint = tmp_path / "surplus"
    shutil.copytree(workshop.classifier, checkpoint)
    edit_tensors(
        lambda tensors: tensors.update(
            {"linear.weight": torch.ones(2), "loss_fct.weight": torch.ones(2)},
        )
    )(checkpoint)
    model = {"checkpoint": str(checkpoint), "dtype": "float32"}
    refused = workshop.cli("run", workshop.job(models=[model]))
    assert (refused.exit_code, 'ignore_tensors: ["linear.*"]' in refused.stderr) == (2, True)
    result = workshop.cli("run", workshop.job(models=[model | {"ignore_tensors": ["linear.*"]}]))
    assert result.exit_code == 0
    for words in ("left out linear.weight: ignore_tensors has", "left out loss_fct.weight: only the loss of"):
        assert f"note: models[0].checkpoint: {words}" in result.stderr
        assert words in (workshop.output / "_job" / "events.jsonl").read_text(encoding="utf-8")
    found = workshop.read()["label"]
    shutil.rmtree(workshop.output)
    workshop.run(models=[{"checkpoint": str(workshop.classifier), "dtype": "float32"}])
    assert workshop.read()["label"] == found


def test_a_classifier_of_texts_is_no_tagger(workshop: Workshop) -> None:
    """It has all tensors of a tagger, and none of them was trained as one."""
    workshop.numbered(4)
    model = {"checkpoint": str(workshop.classifier), "task": "token-classification"}
    result = workshop.cli("run", workshop.job(models=[model]))
    assert result.exit_code == 2
    assert "got the head of" in result.stderr
    assert "use task: text-classification" in result.stderr
    assert not workshop.output.exists()


ONE_TYPE = "expected at least 2 token types, as the tokenizer gives the second text of a pair type 1"
TYPELESS = {"model_input_names": ["input_ids", "attention_mask"]}
LABELS = {"candidate_labels": ["a", "b"]}
NLI = ("entailment", "neutral", "contradiction")


@pytest.mark.parametrize(
    ("task", "made_for", "second", "options"),
    [
        ("text-classification", "text-classification", "other", {}),
        ("next-sentence-prediction", "next-sentence-prediction", "other", {}),
        ("multiple-choice", "multiple-choice", "choices", {}),
        ("question-answering", "question-answering", "other", {}),
        ("question-answering", "question-answering", None, {"questions": ["where"]}),
        ("zero-shot-classification", "text-classification", None, LABELS),
    ],
    ids=lambda x: x if isinstance(x, str) and "-" in x else "",
)
def test_pairs_with_a_checkpoint_of_one_type_are_refused(
    workshop: Workshop, tmp_path: Path, task: str, made_for: str, second: str | None, options: dict[str, Any]
) -> None:
    """Its model would reject every row; a tokenizer that gives no types makes them possible."""
    labels = NLI if task == "zero-shot-classification" else ("a", "b")
    folder = write_checkpoint(
        tmp_path / "one", "bert", made_for, width=16, layers=1, labels=labels, type_vocab_size=1
    )
    workshop.rows(
        [{"id": i, "text": f"the house {i}", "other": "it", "choices": ["a", "b"]} for i in range(3)]
    )
    model = {"checkpoint": str(folder), "task": task, **options}
    job = workshop.job(models=[model], input__text_pair=second)
    for command in ("plan", "run"):
        result = workshop.cli(command, job)
        assert result.exit_code == 2
        assert f"models[0].checkpoint: {folder}: {ONE_TYPE}, got type_vocab_size 1" in result.stderr
        assert "model_input_names" in result.stderr
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | TYPELESS))
    result = workshop.cli("run", job)
    assert result.exit_code == 0, result.stderr
    assert not workshop.rejects()


@pytest.mark.parametrize(
    ("architecture", "second", "types"),
    [("bert", None, 1), ("distilbert", "other", None), ("bert", "other", 2)],
)
def test_types_that_are_there_or_not_needed_are_no_problem(
    workshop: Workshop, tmp_path: Path, architecture: str, second: str | None, types: int | None
) -> None:
    """Single texts; an architecture without types; as many types as a pair has."""
    values = {} if types is None else {"type_vocab_size": types}
    folder = write_checkpoint(
        tmp_path / "some", architecture, "text-classification", width=16, layers=1, **values
    )
    workshop.rows([{"id": 1, "text": "the house", "other": "it"}])
    result = workshop.cli("run", workshop.job(models=[{"checkpoint": str(folder)}], input__text_pair=second))
    assert result.exit_code == 0, result.stderr
    assert not workshop.rejects()


@pytest.mark.parametrize(
    ("made_for", "model", "field", "words"),
    [
        (
            "embedding",
            {"prompt": "the house " * 3},
            "prompt",
            "expected fewer than 6 tokens, the room in a sequence",
        ),
        ("embedding", {"prompt": "the house " * 3, "long_text": "window"}, None, ""),
        ("embedding", {"prompt": "the house"}, None, ""),
        (
            "text-classification",
            {"task": "zero-shot-classification", "max_length": 4, **LABELS},
            "max_length",
            "expected more than 4, the number of special tokens around a text and one token of the job's",
        ),
        ("text-classification", {"task": "zero-shot-classification", "max_length": 5, **LABELS}, None, ""),
    ],
)
def test_a_sequence_without_room_for_a_text_is_refused(
    workshop: Workshop, tmp_path: Path, made_for: str, model: dict[str, Any], field: str | None, words: str
) -> None:
    """A prompt or special tokens that fill it; windows read what is behind a long prompt."""
    folder = write_checkpoint(tmp_path / "made", "bert", made_for, width=16, layers=1, labels=NLI)
    workshop.rows([{"id": 1, "text": "the house"}])
    result = workshop.cli("run", workshop.job(models=[{"checkpoint": str(folder), "max_length": 8, **model}]))
    assert result.exit_code == (2 if field else 0), result.stderr
    if field:
        assert f"models[0].{field}: {words}" in result.stderr
