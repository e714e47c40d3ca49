"""Checkpoints of TensorFlow and Flax give the same results after `convert`, here and in transformers."""

import json
from pathlib import Path

import h5py
import pytest
import torch
import transformers
from convert_fixtures import NAMES, Question, questions, reference, unpack
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from corpusmill.jobs.convert import Converted, convert
from corpusmill.jobs.convert.names import FAMILIES
from corpusmill.models import OptionError, PackedTokens, load_model, read_checkpoint
from corpusmill.models.architectures import ARCHITECTURES

HEADS = {
    "base": "Model",
    "pretraining": "ForPreTraining",
    "masked-lm": "ForMaskedLM",
    "next-sentence": "ForNextSentencePrediction",
    "sequence-classification": "ForSequenceClassification",
    "multiple-choice": "ForMultipleChoice",
    "token-classification": "ForTokenClassification",
    "question-answering": "ForQuestionAnswering",
}
CLASSES = {
    ("tensorflow", "bert"): tuple(HEADS),
    ("tensorflow", "distilbert"): tuple(set(HEADS) - {"pretraining", "next-sentence"}),
    ("tensorflow", "mobilebert"): tuple(HEADS),
    ("tensorflow", "convbert"): tuple(set(HEADS) - {"pretraining", "next-sentence"}),
    ("flax", "bert"): tuple(HEADS),
    ("flax", "distilbert"): tuple(set(HEADS) - {"pretraining", "next-sentence"}),
}
TOLERANCE = 1e-4


def test_there_is_a_checkpoint_for_every_class() -> None:
    """Every architecture and head that transformers had in TensorFlow and Flax."""
    wanted = {
        f"{framework}-{family}-{head}" for (framework, family), heads in CLASSES.items() for head in heads
    }
    assert wanted <= set(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_transformers_answers_as_the_framework_did(name: str, tmp_path: Path) -> None:
    """The result loads with no key missing and none left over."""
    converted = _converted(name, tmp_path)
    assert converted.framework.lower() == name.split("-", maxsplit=1)[0]
    model, info = reference(tmp_path / "new")
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    for question in questions(name):
        with torch.inference_mode():
            output = model(**{key: value.long() for key, value in question.given.items()})
        for key, expected in question.answer.items():
            _assert_close(output[key], expected, name)


@pytest.mark.parametrize("name", NAMES)
def test_our_models_answer_as_the_framework_did(name: str, tmp_path: Path) -> None:
    """For every family and head that this version of corpusmill knows."""
    _converted(name, tmp_path)
    known = _known(tmp_path / "new", head=name.split("-", 2)[2])
    if known:
        pytest.skip(known)
    model = load_model(tmp_path / "new")
    for question in questions(name):
        choices = {"num_choices": 2} if "multiple-choice" in name else {}
        output = model(_packed(question), **choices)
        for key, expected in question.answer.items():
            _assert_close(getattr(output, key).reshape(expected.shape), expected, name)


@pytest.mark.parametrize("name", NAMES)
def test_the_result_counts_what_was_written(name: str, tmp_path: Path) -> None:
    """Tensors, parameters, bytes; the file has transformers' metadata."""
    converted = _converted(name, tmp_path)
    file = tmp_path / "new" / "model.safetensors"
    tensors = load_file(file)
    with safe_open(file, framework="pt") as opened:
        assert opened.metadata() == {"format": "pt"}
    assert converted.tensors == len(tensors)
    assert converted.parameters == sum(tensor.numel() for tensor in tensors.values())
    assert converted.bytes == file.stat().st_size
    assert converted.model_type == name.split("-")[1]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["config.json", "model.safetensors"]


def test_half_precision_stays(tmp_path: Path) -> None:
    """No number is widened or rounded."""
    _converted("flax-bert-base-float16", tmp_path)
    tensors = load_file(tmp_path / "new" / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}


def test_mobilebert_keeps_tensorflows_own_output_matrix(tmp_path: Path) -> None:
    """TensorFlow uses it even if config.json has tied matrices, so the new config has untied ones."""
    name = "tensorflow-mobilebert-masked-lm"
    converted = _converted(name, tmp_path)
    assert "tie_word_embeddings: false" in converted.notes[0]
    assert json.loads((tmp_path / "new" / "config.json").read_text())["tie_word_embeddings"] is False
    tensors = load_file(tmp_path / "new" / "model.safetensors")
    words = tensors["mobilebert.embeddings.word_embeddings.weight"]
    assert not torch.equal(tensors["cls.predictions.decoder.weight"], words)
    assert torch.equal(tensors["cls.predictions.decoder.bias"], tensors["cls.predictions.bias"])


def test_mobilebert_writes_a_shared_output_matrix_once(tmp_path: Path) -> None:
    """If TensorFlow's two matrices are equal, config.json does not change."""
    old = unpack("tensorflow-mobilebert-masked-lm", tmp_path / "old")
    group, scope = "predictions___cls", "tf_mobile_bert_for_masked_lm"
    with h5py.File(old / "tf_model.h5", "r+") as file:
        words = file[f"mobilebert/{scope}/mobilebert/embeddings/word_embeddings/weight:0"][()]
        file[f"{group}/{scope}/{group}/predictions/decoder/weight:0"][...] = words
    converted = convert(old, tmp_path / "new")
    assert converted.left_out == ("cls.predictions.decoder.weight",)
    assert converted.notes == ()
    assert (tmp_path / "new" / "config.json").read_bytes() == (old / "config.json").read_bytes()
    _, info = reference(tmp_path / "new")
    assert not info["missing_keys"]


@pytest.mark.parametrize("family", ["bert", "distilbert", "convbert"])
def test_tensorflow_ties_whatever_the_config_says(family: str, tmp_path: Path) -> None:
    """With an untied config the output matrix is a copy of the embeddings, as TensorFlow computes."""
    name = f"tensorflow-{family}-masked-lm"
    old = unpack(name, tmp_path / "old")
    config = json.loads((old / "config.json").read_text())
    (old / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    convert(old, tmp_path / "new")
    model, info = reference(tmp_path / "new")
    assert not info["missing_keys"]
    question = questions(name)[0]
    given = {key: value.long() for key, value in question.given.items()}
    _assert_close(model(**given).logits.detach(), question.answer["logits"], name)


def test_names_without_a_scope_convert_alike(tmp_path: Path) -> None:
    """Some Keras versions omit the model's name: bert/bert/embeddings, without tf_bert_model."""
    old = unpack("tensorflow-bert-next-sentence", tmp_path / "old")
    convert(old, tmp_path / "new")
    with h5py.File(old / "tf_model.h5", "r+") as file:
        for group in [file[key] for key in file if len(file[key])]:
            scope = group["tf_bert_for_next_sentence_prediction"]
            for key in list(scope):
                group.move(f"{scope.name}/{key}", key)
            del group["tf_bert_for_next_sentence_prediction"]
    convert(old, tmp_path / "again")
    first, second = (load_file(tmp_path / folder / "model.safetensors") for folder in ("new", "again"))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_tables_have_all_tensors_that_transformers_saves(family: str) -> None:
    """Every tensor of every class, and no pattern without a tensor."""
    names = _names(family)
    assert [name for name in names if not FAMILIES[family].knows(name)] == []
    for pattern in (*FAMILIES[family].encoder, *FAMILIES[family].heads):
        alone = FAMILIES[family].__class__(FAMILIES[family].prefix, (pattern,), (pattern,))
        assert any(alone.knows(name) for name in names) or pattern in RARE, pattern


# SqueezeBERT has no such class any more; ConvBERT's summary has weights under an option that is never set.
RARE = ("cls.seq_relationship.*", "sequence_summary.summary.*")
SMALL = {"num_hidden_layers": 1, "vocab_size": 8, "max_position_embeddings": 8}


def _names(family: str) -> set[str]:
    config_class = transformers.AutoConfig.for_model(family).__class__
    start = config_class.__name__.removesuffix("Config")
    options = SMALL | ({"num_groups": 2, "embedding_size": 16} if family == "convbert" else {})
    classes = [getattr(transformers, start + end, None) for end in HEADS.values()]
    with torch.device("meta"):
        models = [model_class(config_class(**options)) for model_class in classes if model_class]
    return {name for model in models for name in model.state_dict()}


def _converted(name: str, folder: Path) -> Converted:
    return convert(unpack(name, folder / "old"), folder / "new")


def _known(folder: Path, *, head: str) -> str:
    """Return why this version cannot run a checkpoint; empty if it can."""
    family = json.loads((folder / "config.json").read_text())["model_type"]
    if family not in ARCHITECTURES:
        return f"this version knows {', '.join(ARCHITECTURES)}, not {family}"
    try:
        checkpoint = read_checkpoint(folder)
    except OptionError:
        return f"this version knows no head for {head}"
    return (
        "" if checkpoint.task != "base" or head.startswith("base") else f"this version reads {head} as base"
    )


def _packed(question: Question) -> PackedTokens:
    ids = question.given["input_ids"]
    types = question.given.get("token_type_ids")
    rows = ids.reshape(-1, ids.shape[-1]).tolist()
    return PackedTokens.from_sequences(rows, None if types is None else types.reshape(len(rows), -1).tolist())


def _assert_close(got: Tensor, expected: Tensor, name: str) -> None:
    """Compare in float32, also if the weights are stored in half precision."""
    torch.testing.assert_close(got, expected, rtol=TOLERANCE, atol=TOLERANCE, msg=name)
