"""Every tensor is accounted for, from the headers alone: none missing, left over, or of another shape."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.tiny_checkpoints import write_checkpoint

from corpusmill.models import (
    CheckpointError,
    PackedTokens,
    TensorError,
    check_tensors,
    load_model,
    read_checkpoint,
)
from corpusmill.models.architectures import ARCHITECTURES

Checkpoints = Callable[[str, str], Path]
Tensors = dict[str, torch.Tensor]
PREFIXES = {"bert": "bert.", "distilbert": "distilbert."}
BATCH = PackedTokens.from_sequences([[2, 90, 91, 3], [2, 7, 3]])


def rewritten(source: Path, target: Path, change: Callable[[Tensors], Tensors]) -> Path:
    """A copy of a checkpoint's config with changed tensors."""
    (target / "config.json").write_bytes((source / "config.json").read_bytes())
    save_file(change(load_file(source / "model.safetensors")), target / "model.safetensors")
    return target


def test_every_difference_is_listed_at_once(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """Missing, surplus, of another shape, of another dtype: with names as in the file."""

    def change(tensors: Tensors) -> Tensors:
        del tensors["bert.encoder.layer.1.attention.self.key.bias"]
        del tensors["classifier.weight"]
        tensors["bert.encoder.layer.2.output.dense.bias"] = torch.zeros(32)
        tensors["bert.extra"] = torch.zeros(1)
        tensors["classifier.bias"] = torch.zeros(7)
        tensors["bert.pooler.dense.bias"] = torch.zeros(32, dtype=torch.int8)
        return tensors

    folder = rewritten(checkpoints("bert", "text-classification"), tmp_path, change)
    with pytest.raises(TensorError) as caught:
        check_tensors(read_checkpoint(folder))
    message = str(caught.value)
    assert "6 differences" in message
    for line in (
        "missing: encoder.layer.1.attention.self.key.bias, expected shape [32]",
        "missing: classifier.weight, expected shape [3, 32]",
        "surplus: bert.encoder.layer.2.output.dense.bias",
        "surplus: bert.extra",
        "wrong shape: classifier.bias, expected [3], got [7]",
        "wrong dtype: bert.pooler.dense.bias, expected one of F64, F32, F16, BF16, got I8",
    ):
        assert line in message
    with pytest.raises(TensorError, match="6 differences"):
        load_model(folder)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_each_tensor_is_needed(checkpoints: Checkpoints, tmp_path: Path, architecture: str) -> None:
    """Whichever is taken away, its name is reported: nothing is ever initialised at random."""
    source = checkpoints(architecture, "text-classification")
    for name in load_file(source / "model.safetensors"):
        folder = rewritten(
            source, tmp_path, lambda tensors, gone=name: {k: v for k, v in tensors.items() if k != gone}
        )
        with pytest.raises(TensorError, match=f"missing: {name.removeprefix(PREFIXES[architecture])},"):
            check_tensors(read_checkpoint(folder))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_prefix_may_be_there_or_not(checkpoints: Checkpoints, tmp_path: Path, architecture: str) -> None:
    """Both give the same model."""
    source = checkpoints(architecture, "base")
    prefix = PREFIXES[architecture]
    folder = rewritten(
        source, tmp_path, lambda tensors: {prefix + name: value for name, value in tensors.items()}
    )
    with_prefix, without = load_model(folder)(BATCH), load_model(source)(BATCH)
    assert torch.equal(with_prefix.last_hidden_state, without.last_hidden_state)


def test_legacy_names_and_saved_positions_are_understood(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """gamma and beta are a norm's weight and bias; position_ids are no weights."""
    source = checkpoints("bert", "base")

    def change(tensors: Tensors) -> Tensors:
        renamed = {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
                "LayerNorm.bias", "LayerNorm.beta"
            ): value
            for name, value in tensors.items()
        }
        return renamed | {"embeddings.position_ids": torch.arange(128)[None]}

    folder = rewritten(source, tmp_path, change)
    assert check_tensors(read_checkpoint(folder)).unused == ()
    assert torch.equal(
        load_model(folder)(BATCH).last_hidden_state, load_model(source)(BATCH).last_hidden_state
    )


def test_one_parameter_cannot_come_from_two_tensors(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """With and without the prefix in one file, neither may win in silence."""
    folder = rewritten(
        checkpoints("bert", "base"), tmp_path, lambda t: t | {"bert.pooler.dense.bias": torch.zeros(32)}
    )
    with pytest.raises(TensorError, match=r"pooler\.dense\.bias are two tensors for one parameter"):
        check_tensors(read_checkpoint(folder))


@pytest.mark.parametrize(
    ("architecture", "names"),
    [
        (
            "bert",
            ["cls.predictions.bias", "cls.seq_relationship.weight", "qa_outputs.weight", "classifier.bias"],
        ),
        (
            "distilbert",
            ["vocab_transform.weight", "vocab_projector.bias", "qa_outputs.bias", "pre_classifier.bias"],
        ),
    ],
)
def test_other_heads_of_the_family_stay_unused(
    checkpoints: Checkpoints, tmp_path: Path, architecture: str, names: list[str]
) -> None:
    """They are told, not loaded."""
    folder = rewritten(
        checkpoints(architecture, "base"), tmp_path, lambda t: t | {name: torch.zeros(2) for name in names}
    )
    assert set(check_tensors(read_checkpoint(folder)).unused) == set(names)
    assert load_model(folder)(BATCH).last_hidden_state.shape == (7, 32)


def test_a_pooler_is_optional_for_the_encoder_only(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """Without one there is no pooler_output; half of one is an error; a classifier needs it."""

    def without(*endings: str) -> Callable[[Tensors], Tensors]:
        return lambda tensors: {name: value for name, value in tensors.items() if not name.endswith(endings)}

    base, classifier = checkpoints("bert", "base"), checkpoints("bert", "text-classification")
    folder = rewritten(base, tmp_path, without("pooler.dense.weight", "pooler.dense.bias"))
    assert load_model(folder)(BATCH).pooler_output is None
    assert load_model(base)(BATCH).pooler_output.shape == (2, 32)
    with pytest.raises(TensorError, match=r"missing: pooler\.dense\.bias"):
        check_tensors(read_checkpoint(rewritten(base, tmp_path, without("pooler.dense.bias"))))
    with pytest.raises(TensorError, match=r"missing: pooler.dense.weight(.|\n)*missing: pooler.dense.bias"):
        load_model(rewritten(classifier, tmp_path, without("pooler.dense.weight", "pooler.dense.bias")))


def test_a_checkpoint_in_shards_is_one_checkpoint(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """Read through the index; a shard that is missing is named."""
    source = checkpoints("bert", "base")
    (tmp_path / "config.json").write_bytes((source / "config.json").read_bytes())
    tensors = load_file(source / "model.safetensors")
    names = sorted(tensors)
    shards = {"a.safetensors": names[:20], "b.safetensors": names[20:]}
    for file, part in shards.items():
        save_file({name: tensors[name] for name in part}, tmp_path / file)
    index = {"weight_map": {name: file for file, part in shards.items() for name in part}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert torch.equal(load_model(tmp_path)(BATCH).pooler_output, load_model(source)(BATCH).pooler_output)
    (tmp_path / "b.safetensors").unlink()
    with pytest.raises(
        CheckpointError, match=r"b\.safetensors: model\.safetensors\.index\.json names this file"
    ):
        check_tensors(read_checkpoint(tmp_path))


def test_an_index_without_a_map(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """An index that names no file is no index."""
    (tmp_path / "config.json").write_bytes((checkpoints("bert", "base") / "config.json").read_bytes())
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(CheckpointError, match="expected weight_map"):
        check_tensors(read_checkpoint(tmp_path))


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (
            "pytorch_model.bin",
            r"got pytorch_model\.bin\. Models are read from safetensors only; `corpusmill convert .* NEW_FOLDER`",
        ),
        ("tf_model.h5", r"got tf_model\.h5\."),
        (None, "got no weights at all"),
    ],
)
def test_weights_in_another_format(
    checkpoints: Checkpoints, tmp_path: Path, file: str | None, message: str
) -> None:
    """The files that are there are named, and what to do."""
    (tmp_path / "config.json").write_bytes((checkpoints("bert", "base") / "config.json").read_bytes())
    if file:
        (tmp_path / file).write_bytes(b"weights")
    with pytest.raises(CheckpointError, match=message):
        load_model(tmp_path)


def test_a_broken_file(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """Half a download does not read as a header."""
    (tmp_path / "config.json").write_bytes((checkpoints("bert", "base") / "config.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 20)
    with pytest.raises(CheckpointError, match="expected safetensors, but the header does not read"):
        check_tensors(read_checkpoint(tmp_path))


def test_a_projection_of_another_shape(tmp_path: Path) -> None:
    """The tensors of 2_Dense are checked with the model's."""
    write_checkpoint(tmp_path, "bert", "embedding", sentence_transformers=True, projection=12)
    save_file({"linear.weight": torch.zeros(12, 5)}, tmp_path / "2_Dense" / "model.safetensors")
    with pytest.raises(TensorError) as caught:
        check_tensors(read_checkpoint(tmp_path))
    assert "missing: linear.bias, expected shape [12]" in str(caught.value)
    assert "wrong shape: linear.weight, expected [12, 32], got [12, 5]" in str(caught.value)
