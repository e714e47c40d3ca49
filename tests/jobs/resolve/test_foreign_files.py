"""Files and folders that are no checkpoint are named for what they are, with the way out."""

import io
import json
import re
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest
from support.tiny_checkpoints import write_checkpoint

from corpusmill.jobs.convert import convert
from corpusmill.jobs.errors import ConvertError
from corpusmill.jobs.inspect import inspect_checkpoint
from corpusmill.models import CheckpointError, load_model
from corpusmill.pipeline.checkpoints.find import find_checkpoint
from corpusmill.pipeline.errors import CorpusmillError

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 12345\n"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint."""
    return write_checkpoint(tmp_path_factory.mktemp("whole"), "bert", "base", width=16, layers=1)


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A checkpoint whose weights are not there."""
    shutil.copytree(whole, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    return tmp_path / "model"


WEIGHTS: dict[str, tuple[dict[str, bytes], str]] = {
    "pointer": ({"model.safetensors": POINTER}, "got a Git-LFS pointer, .*git lfs pull"),
    "pytorch": ({"pytorch_model.bin": b"x"}, "got pytorch_model.bin: PyTorch weights; `corpusmill convert"),
    "tensorflow": ({"tf_model.h5": b"x"}, "got tf_model.h5: TensorFlow weights; `corpusmill convert"),
    "flax": ({"flax_model.msgpack": b"x"}, "got flax_model.msgpack: Flax weights; `corpusmill convert"),
    "both": ({"tf_model.h5": b"x", "flax_model.msgpack": b"x"}, "TensorFlow weights; `corpusmill convert"),
    "variant": ({"model.fp16.safetensors": b"x"}, "a variant of the weights.*rename it to model.safetensors"),
    "shards": (
        {"model-00001-of-00002.safetensors": b"x"},
        "without their index; download model",
    ),
    "onnx": ({"model.onnx": b"x"}, "got model.onnx: an ONNX export; get the checkpoint that it was exported"),
    "onnx inside": ({"onnx/model_quantized.onnx": b"x"}, "got onnx/model_quantized.onnx: an ONNX export"),
    "openvino": (
        {"openvino_model.xml": b"x", "openvino_model.bin": b"x"},
        "got openvino_model.bin, openvino_model.xml: an OpenVINO export",
    ),
    "gguf": ({"bert.Q8_0.gguf": b"GGUF"}, r"weights of llama.cpp \(GGUF\); get the checkpoint"),
    "peft": (
        {"adapter_config.json": b"{}", "adapter_model.safetensors": b"x"},
        "an adapter of PEFT .*without the model that it changes; merge both with PEFT's `merge_and_unload",
    ),
    "google": ({"bert_model.ckpt.index": b"x"}, "a checkpoint of Google's BERT in TensorFlow 1"),
    "training": ({"best.ckpt": b"x"}, r"save the model with save_pretrained\(\)"),
    "archive": ({"model.zip": b"PK"}, "an archive; unpack it and give the folder"),
    "nothing": ({}, "got no weights at all; download model.safetensors too"),
    "lost shard": (
        {"model.safetensors.index.json": json.dumps({"weight_map": {"a": "one.safetensors"}}).encode()},
        "one.safetensors: model.safetensors.index.json names this file, but it is missing; download it again",
    ),
}


def put(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)


@pytest.mark.parametrize(("files", "message"), WEIGHTS.values(), ids=WEIGHTS)
def test_folders_without_weights(folder: Path, files: dict[str, bytes], message: str) -> None:
    """The first thing that helps is named."""
    put(folder, files)
    with pytest.raises(CheckpointError, match=message):
        load_model(folder)
    problems = "\n".join(inspect_checkpoint(str(folder)).problems)
    assert re.search(message, problems)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            WEIGHTS["peft"][0],
            "found none. The folder has an adapter of PEFT",
        ),
        (WEIGHTS["gguf"][0], "found none. The folder has bert.Q8_0.gguf: weights of llama.cpp"),
        ({"model.safetensors": b"x"}, "The folder has model.safetensors, but not its config.json"),
        ({"config.json": POINTER}, "config.json: expected JSON, got a Git-LFS pointer"),
    ],
)
def test_folders_without_config(folder: Path, files: dict[str, bytes], message: str) -> None:
    """The message says what the folder is."""
    (folder / "config.json").unlink()
    put(folder, files)
    with pytest.raises(CheckpointError, match=message):
        load_model(folder)


def test_an_adapter_beside_a_model(whole: Path, folder: Path) -> None:
    """transformers would apply it to another model, so the weights alone would be a silent difference."""
    shutil.copy(whole / "model.safetensors", folder)
    load_model(folder)
    put(folder, {"adapter_config.json": b'{"base_model_name_or_path": "x"}'})
    with pytest.raises(CheckpointError, match=r"a model and an adapter of PEFT .*; merge both"):
        load_model(folder)


def archive(kind: str) -> bytes:
    content = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(content, "w") as made:
            made.writestr("config.json", "{}")
    else:
        with tarfile.open(fileobj=content, mode=kind) as made:
            made.addfile(tarfile.TarInfo("config.json"))
    return content.getvalue()


FILES: dict[str, tuple[str, bytes, str]] = {
    "weights": (
        "model.safetensors",
        b"x",
        "the file model.safetensors of a checkpoint; give its folder, .*model",
    ),
    "config": ("config.json", b"{}", "the file config.json of a checkpoint; give its folder"),
    "pytorch": (
        "pytorch_model.bin",
        b"PK",
        r".*\(PyTorch weights\); `corpusmill convert .*model NEW",
    ),
    "gguf": ("a.gguf", b"GGUF", "the file a.gguf: weights of llama.cpp"),
    "gguf by its content": ("a.model", b"GGUF\x03", "the file a.model: weights of llama.cpp"),
    "onnx": ("a.onnx", b"x", "the file a.onnx: an ONNX export"),
    "zip": ("bert.zip", archive("zip"), "the file bert.zip: an archive; unpack it and give the folder"),
    "zip by its content": ("bert", archive("zip"), "the file bert: an archive"),
    "tar": ("bert.tar", archive("w"), "the file bert.tar: an archive"),
    "tar by its content": ("bert", archive("w"), "the file bert: an archive"),
    "tar.gz": ("bert.tgz", archive("w:gz"), "the file bert.tgz: an archive"),
    "pointer": ("bert.tar", POINTER, "the file bert.tar: a Git-LFS pointer"),
    "other": ("notes.md", b"x", "the file notes.md; give the folder that has config.json"),
}


@pytest.mark.parametrize(("name", "content", "message"), FILES.values(), ids=FILES)
def test_files_in_place_of_a_folder(folder: Path, name: str, content: bytes, message: str) -> None:
    """In a job, in Python, and in `convert`."""
    (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"expected a folder .* and weights, got {message}"):
        load_model(folder / name)
    with pytest.raises(CorpusmillError, match=f"expected a folder with .*, got {message}"):
        find_checkpoint(str(folder / name))
    with pytest.raises(ConvertError, match=f"expected a folder with a checkpoint, got {message}"):
        convert(folder / name, folder.parent / "new")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "tf_model.h5", "flax_model.msgpack"])
def test_a_pointer_is_not_converted(folder: Path, name: str) -> None:
    """It is named before a reader of the format fails at it."""
    (folder / name).write_bytes(POINTER)
    with pytest.raises(ConvertError, match="weights, got a Git-LFS pointer"):
        convert(folder, folder.parent / "new")
