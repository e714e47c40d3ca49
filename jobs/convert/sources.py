"""The contents of a checkpoint's folder, and which of its weights have to be converted."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from corpusmill.jobs.convert.frameworks import FRAMEWORKS
from corpusmill.jobs.convert.names import FAMILIES, MODULES, Family
from corpusmill.jobs.convert.spec import Framework
from corpusmill.jobs.errors import ConvertError
from corpusmill.models.checkpoints.config_fields import read_json, read_object
from corpusmill.models.checkpoints.foreign_files import LFS, foreign_file, foreign_folder, is_lfs_pointer
from corpusmill.models.checkpoints.routes import ROUTERS, all_modules
from corpusmill.models.checkpoints.safetensors_headers import INDEX, SINGLE

WEIGHT_FILES = tuple(framework.file for framework in FRAMEWORKS)
ENCODERS = ("Transformer", "MLMTransformer")


@dataclass(frozen=True)
class WeightsFolder:
    """A folder with weights: of the encoder, or of a projection.

    `folder` is relative to the source. `framework` is None if the weights are safetensors already.
    """

    folder: str
    config: dict[str, Any]
    family: Family
    framework: Framework | None
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Source:
    """A checkpoint: its folders of weights, the encoder's first, and all folders with small files."""

    root: Path
    model_type: str
    weights: tuple[WeightsFolder, ...]
    folders: tuple[str, ...]


def read_source(root: Path) -> Source:
    """Read a folder's JSON files and find its weights; refuse what cannot or need not be converted."""
    if not root.is_dir():
        found = f"got {foreign_file(root)}" if root.is_file() else "found none"
        raise ConvertError(f"{root}: expected a folder with a checkpoint, {found}").at("SRC")
    modules = _modules(root)
    encoders = [folder for folder, kind in modules if kind in ENCODERS] or [""]
    weights = [_encoder_in(root, folder) for folder in encoders]
    for folder, kind in modules:
        if kind in MODULES:
            config = read_object(root / folder / "config.json")
            weights.append(_weights_in(root, folder, config, MODULES[kind]))
    if all(each.framework is None for each in weights):
        raise ConvertError(f"{root}: the weights are safetensors already; use the folder as it is").at("SRC")
    model_types = [str(each.config["model_type"]) for each in weights[: len(encoders)]]
    for model_type, each in zip(model_types, weights[: len(encoders)], strict=True):
        _check_family(root, model_type, each)
    folders = dict.fromkeys(("", *encoders, *(folder for folder, _ in modules)))
    return Source(root, ", ".join(dict.fromkeys(model_types)), tuple(weights), tuple(folders))


def _encoder_in(root: Path, folder: str) -> WeightsFolder:
    where = root / folder / "config.json"
    config = read_object(where)
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise ConvertError(f"{where}: model_type: expected one of {', '.join(FAMILIES)}; got {model_type!r}")
    return _weights_in(root, folder, config, FAMILIES[model_type])


def _modules(root: Path) -> list[tuple[str, str]]:
    """Return folder and class name of sentence-transformers' modules; none without a modules.json."""
    listing = root / "modules.json"
    if not listing.is_file():
        return []
    modules = read_json(listing)
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise ConvertError(f"{listing}: expected a list with one object per module")
    found: list[tuple[str, str]] = []
    for module in modules:
        folder = _inside(str(module.get("path", "")), listing)
        kind = str(module.get("type", "")).rpartition(".")[2]
        found.append((folder, kind))
        if kind in ROUTERS:
            found += [(inner, name.rpartition(".")[2]) for inner, name in all_modules(root, folder)]
    return found


def _weights_in(root: Path, folder: str, config: dict[str, Any], family: Family) -> WeightsFolder:
    where = root / folder
    if (where / SINGLE).is_file() or (where / INDEX).is_file():
        return WeightsFolder(folder, config, family, None, _shards(where, SINGLE, INDEX))
    for framework in FRAMEWORKS:
        files = _shards(where, framework.file, framework.index)
        for file in filter(is_lfs_pointer, files):
            raise ConvertError(f"{file}: expected {framework.name} weights, got {LFS}").at("SRC")
        if files:
            return WeightsFolder(folder, config, family, framework, files)
    raise ConvertError(f"{where}: expected one of {', '.join(WEIGHT_FILES)}, got {foreign_folder(where)}").at(
        "SRC"
    )


def _shards(where: Path, single: str, index: str | None) -> tuple[Path, ...]:
    if (where / single).is_file():
        return (where / single,)
    if index is None or not (where / index).is_file():
        return ()
    named = read_object(where / index).get("weight_map")
    if not isinstance(named, dict) or not named:
        raise ConvertError(f"{where / index}: expected weight_map, an object from tensor to file name")
    files = [where / _inside(str(name), where / index) for name in sorted({*named.values()})]
    for file in files:
        if not file.is_file():
            raise ConvertError(f"{file}: {index} names this file, but it is missing; download it again")
    return tuple(files)


def _inside(name: str, listing: Path) -> str:
    """Return a path that a JSON file names; refuse one that leads out of the checkpoint's folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise ConvertError(f"{listing}: expected paths inside the checkpoint, got {name!r}")
    return "" if name in ("", ".") else str(path)


def _check_family(root: Path, model_type: str, weights: WeightsFolder) -> None:
    framework = weights.framework
    if framework and model_type not in framework.families:
        raise ConvertError(
            f"{root / weights.folder / framework.file}: expected a model of {', '.join(framework.families)}, "
            f"got {model_type}, which transformers never had in {framework.name}; use the checkpoint's "
            "pytorch_model.bin"
        )
