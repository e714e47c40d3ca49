"""The modules of sentence-transformers files after the encoder: pooling, projections, normalization.

A sparse encoder has a SpladePooling over the scores of words instead.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpusmill.models.checkpoints.config_fields import Fields, inside, located, read_json, read_object
from corpusmill.models.checkpoints.sentence_pooling import Splade, read_pooling, read_splade
from corpusmill.models.errors import ConfigError
from corpusmill.models.layers.activations import known_activation

TORCH_ACTIVATIONS = {
    "ELU": "elu",
    "GELU": "gelu",
    "Hardswish": "hardswish",
    "Identity": "linear",
    "LeakyReLU": "leaky_relu",
    "Mish": "mish",
    "ReLU": "relu",
    "ReLU6": "relu6",
    "SELU": "selu",
    "Sigmoid": "sigmoid",
    "SiLU": "silu",
    "Tanh": "tanh",
}
TRANSFORMER_FILES = tuple(
    f"sentence_{name}_config.json"
    for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
KINDS = ("Transformer", "Pooling", "Dense", "Normalize")
SPARSE_KINDS = ("MLMTransformer", "SpladePooling")


@dataclass(frozen=True)
class Dense:
    """A projection; its weights are in `folder`."""

    folder: str
    in_features: int
    out_features: int
    bias: bool
    activation: str


@dataclass(frozen=True)
class Normalize:
    """Division by the Euclidean length."""


@dataclass(frozen=True)
class SentenceModules:
    """The modules after the encoder: `pooling` modes are concatenated in order, then the steps applied.

    A sparse encoder has a `splade` and neither of them.
    """

    transformer: str
    pooling: tuple[str, ...]
    steps: tuple[Dense | Normalize, ...]
    max_seq_length: int | None
    splade: Splade | None = None

    def dimension(self, width: int) -> int:
        """Return the width of the vectors; refuse a projection that does not fit the one before."""
        dimension = width * len(self.pooling)
        for step in self.steps:
            if isinstance(step, Dense):
                if step.in_features != dimension:
                    where = f"{step.folder}/config.json: in_features"
                    raise ConfigError(f"{where}: expected {dimension}, got {step.in_features}")
                dimension = step.out_features
        return dimension


def read_sentence_modules(root: Path) -> SentenceModules | None:
    """Return the record of a sentence-transformers folder, or None if there is no modules.json."""
    listing = root / "modules.json"
    if not listing.is_file():
        return None
    modules = [(_kind(module, listing), str(module.get("path", ""))) for module in _read_list(listing)]
    for _, name in modules:
        inside(root, name, named_by=listing)
    kinds = [kind for kind, _ in modules]
    _check_chain(kinds, listing)
    transformer, pooling = (path for _, path in modules[:2])
    _check_transformer(root / transformer, kinds)
    sparse = kinds[1] == "SpladePooling"
    return SentenceModules(
        transformer=transformer,
        pooling=() if sparse else read_pooling(root / pooling / "config.json"),
        steps=tuple(_dense(root, path) if kind == "Dense" else Normalize() for kind, path in modules[2:]),
        max_seq_length=_max_seq_length(root / transformer),
        splade=read_splade(root / pooling / "config.json") if sparse else None,
    )


def _check_chain(kinds: list[str], listing: Path) -> None:
    dense = kinds[:2] == ["Transformer", "Pooling"] and set(kinds[2:]) <= {"Dense", "Normalize"}
    sparse = kinds in (["MLMTransformer", "SpladePooling"], ["Transformer", "SpladePooling"])
    if not dense and not sparse:
        raise ConfigError(
            f"{listing}: expected Transformer, Pooling, then Dense and Normalize, or MLMTransformer and "
            f"SpladePooling; got {', '.join(kinds)}"
        )


def _check_transformer(folder: Path, kinds: list[str]) -> None:
    """Refuse a Transformer that is not the encoder; since version 5.4 its own file may name another model."""
    words = kinds[1] == "SpladePooling"
    path, fields = _transformer_fields(folder)
    with located(path):
        fields.only("transformer_task", "fill-mask" if words else "feature-extraction")
        if words and kinds[0] == "Transformer":
            fields.require("transformer_task", str)


def _read_list(path: Path) -> list[dict[str, Any]]:
    value = read_json(path)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ConfigError(f"{path}: expected a list with one object per module")
    return value


def _kind(module: dict[str, Any], listing: Path) -> str:
    package, _, kind = str(module.get("type", "")).rpartition(".")
    known = SPARSE_KINDS if "sparse_encoder" in package else KINDS
    if not package.startswith("sentence_transformers") or kind not in known:
        raise ConfigError(
            f"{listing}: expected sentence_transformers' {', '.join(KINDS)}, or its sparse_encoder's "
            f"{' and '.join(SPARSE_KINDS)}; got {module.get('type')!r}, which this version does not run"
        )
    return kind


def _dense(root: Path, folder: str) -> Dense:
    path = root / folder / "config.json"
    fields = Fields(read_object(path))
    with located(path):
        for name in ("module_input_name", "module_output_name"):
            fields.only(name, "sentence_embedding")
        return Dense(
            folder=folder,
            in_features=fields.size("in_features"),
            out_features=fields.size("out_features"),
            bias=fields.get("bias", True),
            activation=_torch_activation(fields.get("activation_function", "torch.nn.Tanh")),
        )


def _torch_activation(name: str) -> str:
    """Return our name of a class of torch.nn; refuse any other import path, and import nothing."""
    package, _, kind = name.rpartition(".")
    if package not in ("torch.nn", "torch.nn.modules.activation", "torch.nn.modules.linear"):
        kind = ""
    if kind not in TORCH_ACTIVATIONS:
        known = ", ".join(f"torch.nn.{known}" for known in TORCH_ACTIVATIONS)
        raise ConfigError(f"activation_function: expected one of {known}; got {name!r}")
    return known_activation(TORCH_ACTIVATIONS[kind])


def _max_seq_length(folder: Path) -> int | None:
    path, fields = _transformer_fields(folder)
    length = fields.raw.get("max_seq_length")
    if length is not None and (type(length) is not int or length < 1):
        raise ConfigError(f"{path}: max_seq_length: expected a positive integer or null, got {length!r}")
    return length


def _transformer_fields(folder: Path) -> tuple[Path, Fields]:
    """Return the path and fields of the Transformer's own file; no fields where there is no file."""
    path = next((folder / name for name in TRANSFORMER_FILES if (folder / name).is_file()), None)
    return (folder / TRANSFORMER_FILES[0], Fields({})) if path is None else (path, Fields(read_object(path)))
