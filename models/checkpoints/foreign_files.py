"""What a file or folder is that cannot be read as a checkpoint, and the way out."""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

LFS_START = b"version https://git-lfs.github.com/spec/"
LFS = (
    "a Git-LFS pointer, which stands for the file in a clone without Git LFS; "
    "run `git lfs install` and `git lfs pull` in the clone, or download the file itself"
)
CONVERT = "`corpusmill convert {folder} NEW_FOLDER` makes safetensors of it"
EXPORTED = "get the checkpoint that it was exported from, with model.safetensors or pytorch_model.bin"


@dataclass(frozen=True)
class ForeignFormat:
    """Files of a format that is no checkpoint here: patterns of their names, what they are, the way out."""

    patterns: tuple[str, ...]
    what: str
    way_out: str


# In the order of what helps most: the first that has a file in the folder is reported.
FORMATS = (
    ForeignFormat(("pytorch_model.bin", "pytorch_model.bin.index.json"), "PyTorch weights", CONVERT),
    ForeignFormat(("tf_model.h5", "tf_model.h5.index.json"), "TensorFlow weights", CONVERT),
    ForeignFormat(("flax_model.msgpack", "flax_model.msgpack.index.json"), "Flax weights", CONVERT),
    ForeignFormat(
        ("model-*-of-*.safetensors",),
        "shards without their index",
        "download model.safetensors.index.json too",
    ),
    ForeignFormat(
        ("model.*.safetensors", "model.safetensors.index.*.json"),
        "a variant of the weights, such as half precision",
        "rename it to {name} to use it",
    ),
    ForeignFormat(
        ("pytorch_model.*.bin",),
        "a variant of PyTorch weights",
        "rename it to pytorch_model.bin, then `corpusmill convert {folder} NEW_FOLDER`",
    ),
    ForeignFormat(
        ("*.safetensors",),
        "safetensors under another name",
        "rename it to model.safetensors if it has the whole model",
    ),
    ForeignFormat(("*.gguf", "ggml-*.bin"), "weights of llama.cpp (GGUF)", EXPORTED),
    ForeignFormat(("openvino_*.xml", "openvino_*.bin", "*.xml"), "an OpenVINO export", EXPORTED),
    ForeignFormat(("*.onnx", "*.onnx_data"), "an ONNX export", EXPORTED),
    ForeignFormat(("*.tflite", "*.mlmodel", "*.mlpackage"), "an export for devices", EXPORTED),
    ForeignFormat(("rust_model.ot", "*.ot"), "weights of rust-bert", EXPORTED),
    ForeignFormat(
        ("*.ckpt.index", "*.ckpt.data-*", "*.ckpt.meta", "bert_config.json"),
        "a checkpoint of Google's BERT in TensorFlow 1",
        "transformers 4 converts it: `transformers-cli convert --model_type bert`",
    ),
    ForeignFormat(("saved_model.pb", "*.h5"), "a model of Keras", EXPORTED),
    ForeignFormat(
        ("*.ckpt", "*.pt", "*.pth", "*.bin", "*.pkl"),
        "weights of a training program under a name of its own",
        "save the model with save_pretrained()",
    ),
    ForeignFormat(
        ("*.zip", "*.tar", "*.tar.gz", "*.tgz", "*.tar.bz2", "*.tar.xz"),
        "an archive",
        "unpack it and give the folder",
    ),
)
ADAPTER = (
    "an adapter of PEFT ({files}) without the model that it changes; merge both with PEFT's "
    "`merge_and_unload()`, save the result with `save_pretrained()`, and give that folder"
)
ADAPTER_BESIDE = (
    "a model and an adapter of PEFT ({files}), which transformers would apply to its own base model; merge "
    "both with PEFT's `merge_and_unload()` and give the result, or remove the adapter's files if the weights "
    "are merged already"
)
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
# The first bytes of files, for those whose names say nothing.
MAGIC = (
    (b"GGUF", FORMATS[7]),
    (b"PK\x03\x04", FORMATS[-1]),
    (b"\x1f\x8b", FORMATS[-1]),
    (b"BZh", FORMATS[-1]),
    (b"\xfd7zXZ", FORMATS[-1]),
)


def is_lfs_pointer(file: Path) -> bool:
    """Return whether a file is the pointer that Git LFS leaves in a clone."""
    try:
        with file.open("rb") as opened:
            return opened.read(len(LFS_START)) == LFS_START
    except OSError:
        return False


def foreign_folder(folder: Path) -> str:
    """Return what a folder without weights has instead, and the way out."""
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    adapter = [name for name in ADAPTER_FILES if name in names]
    if adapter:
        return ADAPTER.format(files=", ".join(adapter))
    if "model.safetensors" in names:
        return "model.safetensors, but not its config.json; download that too"
    exports = (path for sub in ("onnx", "openvino") for path in sorted((folder / sub).glob("*")))
    names += [path.relative_to(folder).as_posix() for path in exports]
    for kind in FORMATS:
        found = [name for name in names if _matches(name.rpartition("/")[2], kind.patterns)]
        if found:
            name = "model.safetensors.index.json" if found[0].endswith(".json") else "model.safetensors"
            return f"{', '.join(found)}: {kind.what}; {kind.way_out.format(folder=folder, name=name)}"
    return (
        "no weights at all; download model.safetensors too. Where there is only pytorch_model.bin, download "
        "that into a folder, and run `corpusmill convert FOLDER NEW_FOLDER`"
    )


def adapter_beside_weights(folder: Path) -> str | None:
    """Return what is wrong with weights beside an adapter's configuration; None without one."""
    if not (folder / ADAPTER_FILES[0]).is_file():
        return None
    found = [name for name in ADAPTER_FILES if (folder / name).is_file()]
    return ADAPTER_BESIDE.format(files=", ".join(found))


def foreign_file(file: Path) -> str:
    """Return what a file is that was given in place of a checkpoint's folder, and the way out."""
    if is_lfs_pointer(file):
        return f"the file {file.name}: {LFS}"
    if _matches(file.name, ("config.json", "modules.json", "model*.safetensors*")):
        return f"the file {file.name} of a checkpoint; give its folder, {file.parent}"
    kind = _by_content(file)
    kind = kind or next((kind for kind in FORMATS if _matches(file.name, kind.patterns)), None)
    if kind is None:
        return f"the file {file.name}; give the folder that has config.json"
    if (file.parent / "config.json").is_file() and CONVERT in kind.way_out:
        return f"the file {file.name} of a checkpoint ({kind.what}); {CONVERT.format(folder=file.parent)}"
    way_out = kind.way_out.format(folder=file.parent, name="model.safetensors")
    return f"the file {file.name}: {kind.what}; {way_out}"


def _by_content(file: Path) -> ForeignFormat | None:
    """Return the format by the first bytes; PyTorch's files are zip archives too, so their names count."""
    try:
        with file.open("rb") as opened:
            start = opened.read(512)
    except OSError:
        return None
    if start[257:262] == b"ustar":
        return FORMATS[-1]
    if _matches(file.name, ("*.bin", "*.pt", "*.pth", "*.ckpt")) and start.startswith(b"PK"):
        return None
    return next((kind for magic, kind in MAGIC if start.startswith(magic)), None)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
