"""What sentence-transformers files say happens after the encoder: pooling, projections, normalization."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpusmill.models.activations import known_activation
from corpusmill.models.config_fields import Fields, located, read_json, read_object
from corpusmill.models.errors import ConfigError
from corpusmill.models.paths import inside

# In the order in which sentence-transformers concatenates them.
POOLING_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
POOLING_NAMES = {**{name: name for name in POOLING_FLAGS.values()}, "mean_sqrt_len_tokens": "mean_sqrt_len"}
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
LENGTH_FILES = tuple(
    f"sentence_{name}_config.json"
    for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)


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
    """The modules after the encoder: `pooling` modes are concatenated in order, then the steps applied."""

    transformer: str
    pooling: tuple[str, ...]
    steps: tuple[Dense | Normalize, ...]
    max_seq_length: int | None

    def dimension(self, width: int) -> int:
        """Width of the resulting vectors, after checking that each projection fits the one before."""
        dimension = width * len(self.pooling)
        for step in self.steps:
            if isinstance(step, Dense):
                if step.in_features != dimension:
                    where = f"{step.folder}/config.json: in_features"
                    raise ConfigError(f"{where}: expected {dimension}, got {step.in_features}")
                dimension = step.out_features
        return dimension


def read_sentence_modules(root: Path) -> SentenceModules | None:
    """The record of a sentence-transformers folder, or None where there is no modules.json."""
    listing = root / "modules.json"
    if not listing.is_file():
        return None
    modules = [(_kind(module, listing), str(module.get("path", ""))) for module in _read_list(listing)]
    for _, name in modules:
        inside(root, name, named_by=listing)
    kinds = [kind for kind, _ in modules]
    if kinds[:2] != ["Transformer", "Pooling"] or not set(kinds[2:]) <= {"Dense", "Normalize"}:
        raise ConfigError(
            f"{listing}: expected Transformer, Pooling, then Dense and Normalize; got {', '.join(kinds)}"
        )
    transformer = modules[0][1]
    return SentenceModules(
        transformer=transformer,
        pooling=_pooling(root / modules[1][1] / "config.json"),
        steps=tuple(_dense(root, path) if kind == "Dense" else Normalize() for kind, path in modules[2:]),
        max_seq_length=_max_seq_length(root / transformer),
    )


def _read_list(path: Path) -> list[dict[str, Any]]:
    value = read_json(path)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ConfigError(f"{path}: expected a list of objects, one a module")
    return value


def _kind(module: dict[str, Any], listing: Path) -> str:
    package, _, kind = str(module.get("type", "")).rpartition(".")
    known = ("Transformer", "Pooling", "Dense", "Normalize")
    sparse = "sparse_encoder" in package
    if not package.startswith("sentence_transformers") or kind not in known or sparse:
        raise ConfigError(
            f"{listing}: expected sentence_transformers' {', '.join(known)}; got {module.get('type')!r}"
        )
    return kind


def _pooling(path: Path) -> tuple[str, ...]:
    raw = read_object(path)
    named = raw.get("pooling_mode")
    if named is None:
        flags = {"pooling_mode_mean_tokens": True, **raw}
        modes = [mode for flag, mode in POOLING_FLAGS.items() if flags.get(flag)]
    else:
        modes = [_pooling_name(name, path) for name in ([named] if isinstance(named, str) else named)]
    if not modes:
        raise ConfigError(f"{path}: expected at least one pooling mode, got none")
    return tuple(modes)


def _pooling_name(name: Any, path: Path) -> str:
    if name not in POOLING_NAMES:
        raise ConfigError(f"{path}: pooling_mode: expected one of {', '.join(POOLING_NAMES)}; got {name!r}")
    return POOLING_NAMES[name]


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
    """Our name for a class of torch.nn; any other import path is refused, never imported."""
    package, _, kind = name.rpartition(".")
    if package not in ("torch.nn", "torch.nn.modules.activation", "torch.nn.modules.linear"):
        kind = ""
    if kind not in TORCH_ACTIVATIONS:
        known = ", ".join(f"torch.nn.{known}" for known in TORCH_ACTIVATIONS)
        raise ConfigError(f"activation_function: expected one of {known}; got {name!r}")
    return known_activation(TORCH_ACTIVATIONS[kind])


def _max_seq_length(folder: Path) -> int | None:
    for name in LENGTH_FILES:
        path = folder / name
        if path.is_file():
            length = read_object(path).get("max_seq_length")
            if length is not None and (type(length) is not int or length < 1):
                raise ConfigError(
                    f"{path}: max_seq_length: expected a positive integer or null, got {length!r}"
                )
            return length
    return None
