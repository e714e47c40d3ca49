"""`corpusmill convert`: what it prints, what it refuses, and that a target appears whole or not at all."""

import json
import stat
from pathlib import Path

import pytest
from convert_fixtures import unpack
from safetensors import SafetensorError
from typer.testing import CliRunner

from corpusmill.jobs.cli.app import app
from corpusmill.jobs.convert import ConvertError, convert, writing


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A TensorFlow checkpoint of MobileBERT."""
    return unpack("tensorflow-mobilebert-masked-lm", tmp_path / "old")


def test_the_command_prints_the_result(old: Path, tmp_path: Path) -> None:
    """Framework, tensors, parameters, bytes, and notes."""
    result = CliRunner().invoke(app, ["convert", str(old), str(tmp_path / "new")])
    assert result.exit_code == 0, result.output
    line, note = result.stdout.splitlines()
    assert line == f"TensorFlow mobilebert: 83 tensors, 9,728 parameters, 0.0 MB -> {tmp_path / 'new'}"
    assert note.startswith("  wrote tie_word_embeddings: false")


def test_the_command_as_json(old: Path, tmp_path: Path) -> None:
    """The same as one object."""
    result = CliRunner().invoke(app, ["convert", str(old), str(tmp_path / "new"), "--json"])
    told = json.loads(result.stdout)
    size = (tmp_path / "new" / "model.safetensors").stat().st_size
    assert (told["framework"], told["model_type"], told["bytes"]) == ("TensorFlow", "mobilebert", size)
    assert (told["tensors"], told["parameters"], told["left_out"]) == (83, 9728, [])


@pytest.mark.parametrize(
    ("source", "target", "code", "message"),
    [
        ("gone", "new", 2, "error: SRC: {0}/gone: expected a folder with a checkpoint, found none"),
        ("old", "full", 2, "error: DST: {0}/full: expected a new or empty folder"),
        ("old", "old/config.json", 2, "error: DST: {0}/old/config.json: expected a new or empty folder"),
        ("shards", "new", 2, "error: SRC: {0}/shards: the weights are safetensors already; use"),
        ("plain", "new", 2, "error: SRC: {0}/plain: the weights are safetensors already; use"),
        (
            "bare",
            "new",
            2,
            "expected one of pytorch_model.bin, tf_model.h5, flax_model.msgpack, got no weights",
        ),
        ("full", "new", 1, "error: {0}/full/config.json: expected a JSON file, found none"),
        (
            "roberta",
            "new",
            1,
            "model_type: expected one of bert, distilbert, mobilebert, squeezebert, convbert",
        ),
        (
            "squeeze",
            "new",
            1,
            "got squeezebert, which transformers never had in TensorFlow; use the checkpoint",
        ),
    ],
)
def test_refusals(source: str, target: str, code: int, message: str, old: Path, tmp_path: Path) -> None:
    """One line on standard error; 2 for a wrong SRC or DST, 1 for a checkpoint that cannot be converted."""
    for folder in ("full", "plain", "shards", "bare", "roberta", "squeeze"):
        (tmp_path / folder).mkdir()
    (tmp_path / "full" / "something").write_text("x")
    for folder in ("plain", "shards", "bare"):
        (tmp_path / folder / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "plain" / "model.safetensors").write_bytes(b"")
    (tmp_path / "shards" / "model-1.safetensors").write_bytes(b"")
    index = json.dumps({"weight_map": {"pooler.dense.bias": "model-1.safetensors"}})
    (tmp_path / "shards" / "model.safetensors.index.json").write_text(index)
    (tmp_path / "roberta" / "config.json").write_text('{"model_type": "roberta"}')
    (tmp_path / "squeeze" / "config.json").write_text('{"model_type": "squeezebert"}')
    (tmp_path / "squeeze" / "tf_model.h5").write_bytes(b"")
    result = CliRunner().invoke(app, ["convert", str(tmp_path / source), str(tmp_path / target)])
    assert result.exit_code == code
    assert message.format(tmp_path) in result.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("model_type", ["mobilebert", "convbert", "squeezebert"])
def test_flax_had_two_families(model_type: str, tmp_path: Path) -> None:
    """A Flax file of another family is refused."""
    old = unpack("flax-bert-base", tmp_path / "old")
    (old / "config.json").write_text(json.dumps({"model_type": model_type}))
    message = f"expected a model of bert, distilbert, got {model_type}, .* in Flax.*pytorch_model.bin"
    with pytest.raises(ConvertError, match=message):
        convert(old, tmp_path / "new")


def test_a_folder_without_weights_is_named(tmp_path: Path) -> None:
    """The error says what the folder has instead."""
    for name, text in (("config.json", '{"model_type": "bert"}'), ("model.onnx", ""), ("vocab.txt", "")):
        (tmp_path / name).write_text(text)
    with pytest.raises(ConvertError, match=r"got model\.onnx: an ONNX export; get the checkpoint"):
        convert(tmp_path, tmp_path / "new")


@pytest.mark.parametrize("path", ["../2_Dense", "/etc", "a/../../b"])
def test_modules_outside_the_folder(path: str, old: Path, tmp_path: Path) -> None:
    """A checkpoint's JSON must not lead to copies of other folders."""
    modules = [
        {"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": path, "type": "x.Pooling"},
    ]
    (old / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ConvertError, match=r"modules\.json: expected paths inside the checkpoint"):
        convert(old, tmp_path / "new")


def test_an_empty_target_is_taken(old: Path, tmp_path: Path) -> None:
    """And so is one whose parents do not exist."""
    (tmp_path / "new").mkdir()
    convert(old, tmp_path / "new")
    convert(old, tmp_path / "a" / "b" / "new")
    assert (tmp_path / "a" / "b" / "new" / "model.safetensors").is_file()


def test_pytorch_comes_first(old: Path, tmp_path: Path) -> None:
    """A folder with weights of several frameworks is converted from the pickle."""
    (old / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ConvertError, match=r"pytorch_model\.bin: expected a PyTorch checkpoint, got"):
        convert(old, tmp_path / "new")


@pytest.mark.parametrize("failure", [OSError("disk full"), SafetensorError("disk full"), KeyboardInterrupt()])
def test_a_failure_leaves_nothing(
    failure: BaseException, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No target, no temporary folder; an interrupt stays an interrupt."""

    def fail(*args: object, **kwargs: object) -> None:
        raise failure

    monkeypatch.setattr(writing, "save_file", fail)
    expected = KeyboardInterrupt if isinstance(failure, KeyboardInterrupt) else ConvertError
    with pytest.raises(expected):
        convert(old, tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_the_target_is_readable_by_others(old: Path, tmp_path: Path) -> None:
    """As any new file under this umask."""
    convert(old, tmp_path / "new")
    (tmp_path / "plain").write_text("x")
    usual = stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new").iterdir()}
    assert modes == {usual}
