"""The modules of sentence-transformers files after the encoder: pooling, projections, normalization.

A sparse encoder has a SpladePooling over the scores of words instead, a cross-encoder a classifier's head.
A Router has a chain of modules for each kind of text; the chain of one route is read.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpusmill.models.checkpoints.config_fields import Fields, inside, located, read_json, read_object
from corpusmill.models.checkpoints.routes import ROUTERS, Route, read_route
from corpusmill.models.checkpoints.sentence_pooling import Splade, read_pooling, read_splade
from corpusmill.models.errors import ConfigError, OptionError
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
STEP_KINDS = ("Dense", "Normalize", "LayerNorm", "Dropout")
KINDS = ("Transformer", "Pooling", *STEP_KINDS)
SPARSE_KINDS = ("MLMTransformer", "SpladePooling")
CLASSIFICATION = "sequence-classification"
OF_TOKENS, OF_TEXTS, SCORES = "token_embeddings", "sentence_embedding", "scores"
SETTINGS = "config_sentence_transformers.json"
PACKAGE = "sentence_transformers."


@dataclass(frozen=True)
class Dense:
    """A projection; its weights are in `folder`. `residual`: the input, or a map of it, is added."""

    folder: str
    in_features: int
    out_features: int
    bias: bool
    activation: str
    residual: bool = False


@dataclass(frozen=True)
class Normalize:
    """Division by the Euclidean length."""


@dataclass(frozen=True)
class LayerNorm:
    """A norm with a weight and a bias per dimension, which are in `folder`."""

    folder: str
    dimension: int


VectorStep = Dense | Normalize | LayerNorm


@dataclass(frozen=True)
class SentenceModules:
    """The modules after the encoder: `pooling` modes are concatenated in order, then the steps applied.

    `token_steps` come before the pooling. A sparse encoder has a `splade` and none of these. `classifier`:
    the last step writes scores, those of a cross-encoder; without a pooling, the steps begin with the scores
    of the Transformer's own head. `route` is the route of a Router that these modules are, and `routes` are
    all. `include_prompt`: the pooling counts the prompt's tokens. `truncate_dim` is the number of leading
    dimensions to keep, and `max_active_dims` the number of words of a sparse vector; None keeps all.
    """

    transformer: str
    pooling: tuple[str, ...]
    steps: tuple[VectorStep, ...]
    max_seq_length: int | None
    splade: Splade | None = None
    token_steps: tuple[VectorStep, ...] = ()
    route: str | None = None
    routes: tuple[str, ...] = ()
    include_prompt: bool = True
    truncate_dim: int | None = None
    max_active_dims: int | None = None
    classifier: bool = False

    @property
    def task(self) -> str:
        """The head that these modules are."""
        if self.classifier:
            return "text-classification"
        return "embedding" if self.splade is None else "sparse-embedding"

    def token_width(self, width: int) -> int:
        """Return the width of the token vectors that are pooled."""
        return _width_after(self.token_steps, width)

    def dimension(self, width: int) -> int:
        """Return the width of the vectors; refuse a projection that does not fit the one before."""
        return _width_after(self.steps, self.token_width(width) * len(self.pooling))

    def scores(self, width: int, labels: int) -> int:
        """Return the number of scores of a cross-encoder whose own head, if it has one, has these labels."""
        return self.dimension(width) if self.pooling else _width_after(self.steps, labels)


def _width_after(steps: tuple[VectorStep, ...], width: int) -> int:
    for step in steps:
        if isinstance(step, Dense):
            _check_width(f"{step.folder}/config.json: in_features", step.in_features, width)
            width = step.out_features
        elif isinstance(step, LayerNorm):
            _check_width(f"{step.folder}/config.json: dimension", step.dimension, width)
    return width


def _check_width(where: str, got: int, expected: int) -> None:
    if got != expected:
        raise ConfigError(f"{where}: expected {expected}, got {got}")


def read_sentence_modules(root: Path, route: str | None = None) -> SentenceModules | None:
    """Return the record of a sentence-transformers folder, or None if there is no modules.json.

    `route` is one of a Router, by its name or by a task that it maps to it; None means that of documents.
    """
    listing = root / "modules.json"
    if not listing.is_file():
        return None
    modules, chosen = _chain(root, listing, route)
    kinds = [kind for kind, _ in modules]
    if kinds[:1] == ["Transformer"] and _classifies(root / modules[0][1]):
        return _with_own_head(root, modules)
    _check_chain(kinds, listing)
    place = kinds.index("SpladePooling" if "SpladePooling" in kinds else "Pooling")
    transformer, pooling = modules[0][1], root / modules[place][1] / "config.json"
    sparse = kinds[place] == "SpladePooling"
    _check_transformer(root / transformer, kinds[0], words=sparse)
    settings, later = _settings(root), modules[place + 1 :]
    classifier = any(kind == "Dense" and _writes_scores(root / folder) for kind, folder in later)
    return SentenceModules(
        transformer=transformer,
        pooling=() if sparse else read_pooling(pooling),
        token_steps=_steps(root, modules[1:place], vectors=OF_TOKENS),
        steps=(_steps_to_scores if classifier else _steps)(root, later, vectors=OF_TEXTS),
        classifier=classifier,
        max_seq_length=_max_seq_length(root / transformer),
        splade=read_splade(pooling) if sparse else None,
        route=chosen.name if chosen else None,
        routes=chosen.all if chosen else (),
        include_prompt=sparse or bool(read_object(pooling).get("include_prompt", True)),
        truncate_dim=settings["truncate_dim"],
        max_active_dims=settings["max_active_dims"],
    )


def _classifies(transformer: Path) -> bool:
    return _transformer_fields(transformer)[1].raw.get("transformer_task") == CLASSIFICATION


def _writes_scores(folder: Path) -> bool:
    return read_object(folder / "config.json").get("module_output_name") == SCORES


def _with_own_head(root: Path, modules: list[tuple[str, str]]) -> SentenceModules:
    """Return the record of a folder that a CrossEncoder saves since sentence-transformers 5.4."""
    (_, transformer), *later = modules
    return SentenceModules(
        transformer=transformer,
        pooling=(),
        steps=_steps_to_scores(root, later, vectors=SCORES),
        max_seq_length=_max_seq_length(root / transformer),
        classifier=True,
    )


def _steps_to_scores(root: Path, modules: list[tuple[str, str]], *, vectors: str) -> tuple[VectorStep, ...]:
    """Read the modules that make scores; after the first Dense that writes them, each must change them."""
    steps: list[VectorStep] = []
    for kind, folder in modules:
        if kind == "Dense" and _writes_scores(root / folder):
            steps.append(_dense(root, folder, vectors=vectors, written=SCORES))
            vectors = SCORES
        elif vectors == SCORES:
            raise ConfigError(
                f"{root / folder / 'config.json'}: expected a Dense that reads and writes {SCORES}, got "
                f"{kind}, which this version does not run after scores"
            )
        elif kind != "Dropout":
            steps.append(READERS[kind](root, folder, vectors=vectors))
    return tuple(steps)


def _chain(root: Path, listing: Path, route: str | None) -> tuple[list[tuple[str, str]], Route | None]:
    """Return kind and folder of each module, a Router's replaced by those of its route."""
    modules: list[tuple[str, str]] = []
    chosen = None
    for module in _read_list(listing):
        kind, path = str(module.get("type", "")), str(module.get("path", ""))
        inside(root, path, named_by=listing)
        if kind.startswith(PACKAGE) and kind.rpartition(".")[2] in ROUTERS:
            chosen = read_route(root, path, route)
            modules += [(_kind(kind, chosen.listing), path) for kind, path in chosen.modules]
        else:
            modules.append((_kind(kind, listing), path))
    if route is not None and chosen is None:
        raise OptionError(f"route: expected none for {root}, which has no Router; got {route!r}")
    return modules, chosen


def _check_chain(kinds: list[str], listing: Path) -> None:
    pooling = kinds.index("Pooling") if "Pooling" in kinds else 0
    dense = (
        pooling > 0
        and kinds[0] == "Transformer"
        and set(kinds[1:pooling]) <= {"Dense", "Normalize"}
        and set(kinds[pooling + 1 :]) <= set(STEP_KINDS)
    )
    sparse = kinds in (["MLMTransformer", "SpladePooling"], ["Transformer", "SpladePooling"])
    if not dense and not sparse:
        raise ConfigError(
            f"{listing}: expected Transformer, Pooling, then {', '.join(STEP_KINDS[:-1])} and "
            f"{STEP_KINDS[-1]}, or MLMTransformer and SpladePooling; got {', '.join(kinds)}"
        )


def _check_transformer(folder: Path, kind: str, *, words: bool) -> None:
    """Refuse a Transformer that is not the encoder; since version 5.4 its own file may name another model."""
    path, fields = _transformer_fields(folder)
    with located(path):
        fields.only("transformer_task", "fill-mask" if words else "feature-extraction")
        if words and kind == "Transformer":
            fields.require("transformer_task", str)


def _read_list(path: Path) -> list[dict[str, Any]]:
    value = read_json(path)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ConfigError(f"{path}: expected a list with one object per module")
    return value


def _kind(name: str, listing: Path) -> str:
    """Return the kind of a module by the name of its class."""
    package, _, kind = name.rpartition(".")
    known = SPARSE_KINDS if "sparse_encoder" in package else KINDS
    if not package.startswith(PACKAGE) or kind not in known:
        raise ConfigError(
            f"{listing}: expected sentence_transformers' {', '.join(KINDS)} or Router, or its "
            f"sparse_encoder's {' and '.join(SPARSE_KINDS)}; got {name!r}, which this version does not run"
        )
    return kind


def _steps(root: Path, modules: list[tuple[str, str]], *, vectors: str) -> tuple[VectorStep, ...]:
    """Read the modules that change the `vectors` of tokens or texts; a Dropout only acts in training."""
    return tuple(
        READERS[kind](root, folder, vectors=vectors) for kind, folder in modules if kind != "Dropout"
    )


def _dense(root: Path, folder: str, *, vectors: str, written: str | None = None) -> Dense:
    path = root / folder / "config.json"
    fields = Fields(read_object(path))
    with located(path):
        _check_vectors(fields, vectors, written)
        return Dense(
            folder=folder,
            in_features=fields.size("in_features"),
            out_features=fields.size("out_features"),
            bias=fields.get("bias", True),
            activation=_torch_activation(fields.get("activation_function", "torch.nn.Tanh")),
            residual=fields.get("use_residual", False),
        )


def _normalize(root: Path, folder: str, *, vectors: str) -> Normalize:
    path = root / folder / "config.json"
    fields = Fields(read_object(path) if path.is_file() else {})  # older versions write none
    with located(path):
        _check_vectors(fields, vectors)
    return Normalize()


def _layer_norm(root: Path, folder: str, *, vectors: str) -> LayerNorm:
    path = root / folder / "config.json"
    assert vectors == OF_TEXTS, "refused before a pooling"
    with located(path):
        return LayerNorm(folder, Fields(read_object(path)).size("dimension"))


READERS: Mapping[str, Callable[..., VectorStep]] = {
    "Dense": _dense,
    "Normalize": _normalize,
    "LayerNorm": _layer_norm,
}


def _check_vectors(fields: Fields, vectors: str, written: str | None = None) -> None:
    """Refuse a module that reads other vectors than those of its place in the chain, or writes others.

    `written` are those to write; None means the same.
    """
    names = {"module_input_name": OF_TEXTS, **fields.raw}
    names["module_output_name"] = fields.raw.get("module_output_name") or names["module_input_name"]
    Fields(names).only("module_input_name", vectors)
    Fields(names).only("module_output_name", written or vectors)


def _settings(root: Path) -> dict[str, int | None]:
    """Return the limits of vectors that the folder's settings state."""
    path = root / SETTINGS
    fields = Fields(read_object(path) if path.is_file() else {})
    with located(path):
        return {
            name: None if fields.raw.get(name) is None else fields.size(name)
            for name in ("truncate_dim", "max_active_dims")
        }


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
