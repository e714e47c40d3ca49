"""Every tensor is accounted for, from the headers alone: none missing, left over, or of another shape."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from support.tiny_checkpoints import VOCABULARY, write_checkpoint

from corpusmill.models import (
    CheckpointError,
    PackedTokens,
    TensorError,
    check_tensors,
    load_model,
    read_checkpoint,
)
from corpusmill.models.architectures import ARCHITECTURES
from corpusmill.models.checkpoints.checkpoint import skeleton
from corpusmill.models.heads import HEADS

Checkpoints = Callable[[str, str], Path]
Tensors = dict[str, torch.Tensor]
CELLS = [(name, task) for name, spec in ARCHITECTURES.items() for task in HEADS if task not in spec.lacks]
PREFIXES = {
    "bert": "bert.",
    "convbert": "convbert.",
    "distilbert": "distilbert.",
    "mobilebert": "mobilebert.",
    "squeezebert": "transformer.",
}
OUTPUTS = {"distilbert": "vocab_projector.weight", "convbert": "generator_lm_head.weight"}
WORD_TASKS = ("fill-mask", "pretraining")
CONVBERT_SMALL = {
    "hidden_size": 256,
    "embedding_size": 128,
    "num_attention_heads": 4,
    "intermediate_size": 1024,
}
CONVBERT_MEDIUM_SMALL = {
    "hidden_size": 384,
    "embedding_size": 128,
    "num_attention_heads": 8,
    "intermediate_size": 1536,
    "num_groups": 2,
}
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


@pytest.mark.parametrize(("architecture", "task"), CELLS)
def test_each_tensor_is_needed(
    checkpoints: Checkpoints, tmp_path: Path, architecture: str, task: str
) -> None:
    """Every one that is taken away is reported: nothing is ever initialised at random."""
    source = checkpoints(architecture, task)
    needed = {stored.name for stored in check_tensors(read_checkpoint(source, task)).sources.values()}
    needed -= {"pooler.dense.weight"}  # without it an encoder has no pooler
    folder = rewritten(source, tmp_path, lambda t: {name: t[name] for name in t if name not in needed})
    with pytest.raises(TensorError) as caught:
        check_tensors(read_checkpoint(folder, task))
    missing = set(re.findall(r"missing: (\S+),", str(caught.value)))
    tied = {"cls.predictions.decoder.bias", OUTPUTS.get(architecture, "cls.predictions.decoder.weight")}
    names = {name.removeprefix(PREFIXES[architecture]) for name in needed} - {"cls.predictions.bias"}
    assert missing - tied == names
    assert not tied & missing or task in (*WORD_TASKS, "sparse-embedding")


def outputs_equal(ours: Path, theirs: Path, task: str) -> bool:
    """Whether two checkpoints give the very same hidden states and results."""
    options = {"num_choices": 1} if task == "multiple-choice" else {}
    a, b = (vars(load_model(folder, task)(BATCH, **options)) for folder in (ours, theirs))
    return all(torch.equal(value, b[name]) for name, value in a.items() if value is not None)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_prefix_may_be_there_or_not(checkpoints: Checkpoints, tmp_path: Path, architecture: str) -> None:
    """An encoder with its prefix, and a task model's encoder without it."""
    prefix = PREFIXES[architecture]
    added = rewritten(
        checkpoints(architecture, "base"),
        tmp_path,
        lambda tensors: {prefix + name: value for name, value in tensors.items()},
    )
    assert outputs_equal(added, checkpoints(architecture, "base"), "base")
    source = checkpoints(architecture, "fill-mask")
    removed = rewritten(
        source, tmp_path, lambda tensors: {name.removeprefix(prefix): x for name, x in tensors.items()}
    )
    assert outputs_equal(removed, source, "fill-mask")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_legacy_names_and_saved_positions_are_understood(
    checkpoints: Checkpoints, tmp_path: Path, architecture: str
) -> None:
    """gamma and beta are a norm's weight and bias; position and type numbers are no weights."""
    source = checkpoints(architecture, "base")
    endings = {"orm.weight": "orm.gamma", "orm.bias": "orm.beta"}

    def change(tensors: Tensors) -> Tensors:
        for new, old in endings.items():
            tensors = {name.replace(new, old): value for name, value in tensors.items()}
        stale = {f"embeddings.{name}": torch.arange(128)[None] for name in ("position_ids", "token_type_ids")}
        return tensors | stale

    folder = rewritten(source, tmp_path, change)
    assert any(name.endswith(".gamma") for name in load_file(folder / "model.safetensors"))
    assert check_tensors(read_checkpoint(folder)).unused == ()
    assert outputs_equal(folder, source, "base")


@pytest.mark.parametrize(("architecture", "task"), [cell for cell in CELLS if cell[1] in WORD_TASKS])
def test_a_tied_output_matrix_may_be_missing_or_stand_in(
    checkpoints: Checkpoints, tmp_path: Path, architecture: str, task: str
) -> None:
    """Under either name or both, tied matrices are one; untied, the missing one is an error."""
    source = checkpoints(architecture, task)
    output = OUTPUTS.get(architecture, "cls.predictions.decoder.weight")
    tensors = load_file(source / "model.safetensors")
    assert output not in tensors
    words = f"{PREFIXES[architecture]}embeddings.word_embeddings.weight"
    both, swapped = tmp_path / "both", tmp_path / "swapped"
    both.mkdir()
    swapped.mkdir()
    rewritten(source, both, lambda t: t | {output: t[words].clone()})
    rewritten(source, swapped, lambda t: {output if name == words else name: x for name, x in t.items()})
    assert outputs_equal(both, source, task)
    assert outputs_equal(swapped, source, task)
    raw = json.loads((source / "config.json").read_text()) | {"tie_word_embeddings": False}
    (both / "config.json").write_text(json.dumps(raw))
    assert outputs_equal(both, source, task)
    (swapped / "config.json").write_text(json.dumps(raw))
    with pytest.raises(TensorError, match=r"missing: embeddings\.word_embeddings\.weight"):
        check_tensors(read_checkpoint(swapped))
    for name in ("config.json", "model.safetensors"):
        (swapped / name).write_bytes((source / name).read_bytes())
    (swapped / "config.json").write_text(json.dumps(raw))
    with pytest.raises(TensorError, match=f"missing: {output}"):
        check_tensors(read_checkpoint(swapped))


@pytest.mark.parametrize(("architecture", "task"), [cell for cell in CELLS if cell[1] in WORD_TASKS])
def test_an_untied_output_matrix_is_its_own(
    tmp_path: Path, reference: Any, results: Any, expected: Any, architecture: str, task: str
) -> None:
    """Then it has values of its own, and transformers' results."""
    write_checkpoint(tmp_path, architecture, task, tie_word_embeddings=False)
    model = load_model(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    assert OUTPUTS.get(architecture, "cls.predictions.decoder.weight") in tensors
    (ours,) = results(model, PackedTokens.from_sequences([[2, 90, 91, 3]]))
    for name, value in expected(reference(model.checkpoint)([2, 90, 91, 3]), task).items():
        torch.testing.assert_close(ours[name], value, rtol=0, atol=float(1e-5 * value.abs().max()))


@pytest.mark.parametrize(
    ("architecture", "values", "parameters"),
    [
        ("distilbert", {"vocab_size": 30522}, 66_362_880),
        ("distilbert", {"vocab_size": 28996}, 65_190_912),
        ("distilbert", {"vocab_size": 119547}, 134_734_080),
        ("mobilebert", {"classifier_activation": False}, 24_581_888),
        ("squeezebert", {"vocab_size": 30528}, 51_094_272),
        ("convbert", {}, 105_680_520),
        ("convbert", CONVBERT_MEDIUM_SMALL, 17_475_888),
        ("convbert", CONVBERT_SMALL, 13_143_768),
    ],
)
def test_published_checkpoints_have_their_exact_size(
    tmp_path: Path, architecture: str, values: dict[str, Any], parameters: int
) -> None:
    """Counted on the meta device, poolers included."""
    config = transformers.AutoConfig.for_model(architecture, **values)
    config.save_pretrained(tmp_path)
    parts = skeleton(read_checkpoint(tmp_path), pooler=True)
    assert sum(parameter.numel() for parameter in parts.parameters()) == parameters


def test_one_parameter_cannot_come_from_two_tensors(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """With and without the prefix in one file, neither may win in silence."""
    folder = rewritten(
        checkpoints("bert", "base"), tmp_path, lambda t: t | {"bert.pooler.dense.bias": torch.zeros(32)}
    )
    with pytest.raises(TensorError, match=r"pooler\.dense\.bias are two tensors of one parameter"):
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
            r"got pytorch_model\.bin: PyTorch weights; `corpusmill convert .* NEW_FOLDER` makes safetensors",
        ),
        ("tf_model.h5", r"got tf_model\.h5: TensorFlow weights; `corpusmill convert"),
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
    with pytest.raises(CheckpointError, match="expected safetensors, got a header that cannot be read"):
        check_tensors(read_checkpoint(tmp_path))


def test_a_projection_of_another_shape(tmp_path: Path) -> None:
    """The tensors of 2_Dense are checked with the model's."""
    write_checkpoint(tmp_path, "bert", "embedding", sentence_transformers=True, projection=12)
    save_file({"linear.weight": torch.zeros(12, 5)}, tmp_path / "2_Dense" / "model.safetensors")
    with pytest.raises(TensorError) as caught:
        check_tensors(read_checkpoint(tmp_path))
    assert "missing: linear.bias, expected shape [12]" in str(caught.value)
    assert "wrong shape: linear.weight, expected [12, 32], got [12, 5]" in str(caught.value)


@pytest.mark.parametrize(
    "name", ["../other.safetensors", "/etc/other.safetensors", "a/../../x.safetensors", "..\\x", "C:\\x"]
)
def test_a_shard_outside_the_folder_is_refused(checkpoints: Checkpoints, tmp_path: Path, name: str) -> None:
    """Before anything is opened there."""
    (tmp_path / "config.json").write_bytes((checkpoints("bert", "base") / "config.json").read_bytes())
    index = {"weight_map": {"pooler.dense.bias": name}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="expected a path inside the checkpoint's folder, got"):
        check_tensors(read_checkpoint(tmp_path))


def test_links_inside_the_folder_are_followed(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """The Hugging Face cache keeps its files elsewhere."""
    source = checkpoints("bert", "base")
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).symlink_to(source / name)
    assert outputs_equal(tmp_path, source, "base")


def test_more_vectors_than_the_tokenizer_has_words(tmp_path: Path) -> None:
    """As SqueezeBERT's official checkpoints: the rest is there, and never asked for."""
    write_checkpoint(
        tmp_path, "squeezebert", "fill-mask", vocab=[*VOCABULARY, *(f"[unused{n}]" for n in range(6))]
    )
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY))
    model = load_model(tmp_path)
    assert model(BATCH).logits.shape == (7, len(VOCABULARY) + 6)
