"""The conversion: read the source, translate the tensors of each folder of weights, write the new folder."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from torch import Tensor

from corpusmill.jobs.convert.names import FAMILIES
from corpusmill.jobs.convert.sources import Source, WeightsFolder, read_source
from corpusmill.jobs.convert.spec import Framework
from corpusmill.jobs.convert.translation import TIE_FIELD, Tying, resolve_tying, translate
from corpusmill.jobs.convert.writing import (
    atomic_folder,
    check_target,
    copy_small_files,
    write_config,
    write_tensors,
)
from corpusmill.jobs.errors import ConvertError
from corpusmill.models.checkpoints.safetensors_headers import INDEX


@dataclass(frozen=True)
class Converted:
    """A finished conversion; the numbers are sums over all converted folders, `bytes` of the written files.

    `left_out` names tensors of the source that the result lacks under that name: shared matrices, saved
    position numbers, tensors that only training uses, and those that the caller names. `notes` are the other
    differences from the source, and the reasons for tensors that are left out.
    """

    source: str
    target: str
    framework: str
    model_type: str
    tensors: int
    parameters: int
    bytes: int
    left_out: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _WrittenWeights:
    tensors: int = 0
    parameters: int = 0
    bytes: int = 0
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def convert(source: str | Path, target: str | Path, ignore_tensors: Sequence[str] = ()) -> Converted:
    """Write a folder with the source's weights as model.safetensors, its config, tokenizer and module files.

    Tensors that no model has are left out if their names match a pattern of `ignore_tensors`. The target
    appears whole or not at all. Raises ConvertError, and ConfigError for unusable JSON.
    """
    check_target(Path(target))
    found = read_source(Path(source))
    with atomic_folder(Path(target)) as staged:
        for folder in found.folders:
            copy_small_files(found.root / folder, staged / folder)
        written = [
            _convert(found, weights, weights.framework, staged, ignore_tensors)
            for weights in found.weights
            if weights.framework
        ]
        for weights in found.weights:
            if weights.framework is None:
                _copy_weights(found.root / weights.folder, weights, staged / weights.folder)
    names = dict.fromkeys(weights.framework.name for weights in found.weights if weights.framework)
    return Converted(
        source=str(source),
        target=str(target),
        framework=", ".join(names),
        model_type=found.model_type,
        tensors=sum(each.tensors for each in written),
        parameters=sum(each.parameters for each in written),
        bytes=sum(each.bytes for each in written),
        left_out=tuple(chain.from_iterable(each.left_out for each in written)),
        notes=tuple(chain.from_iterable(each.notes for each in written)),
    )


def _convert(
    source: Source,
    weights: WeightsFolder,
    framework: Framework,
    staged: Path,
    ignore_tensors: Sequence[str],
) -> _WrittenWeights:
    where = source.root / weights.folder
    tensors, left_out = translate(
        _read(weights, framework),
        framework=framework,
        family=weights.family,
        where=where,
        ignore=ignore_tensors,
    )
    if not tensors:
        raise ConvertError(f"{weights.files[0]}: expected weights, got a file without tensors")
    tensors |= framework.derived(tensors, weights.config)
    tied = bool(weights.config.get(TIE_FIELD, True))
    tying = (
        Tying(tensors, (), tied)
        if weights.family not in FAMILIES.values()
        else resolve_tying(tensors, weights.family, tied=tied, from_pytorch=framework.name == "PyTorch")
    )
    notes = [f"left out {name}: {reason}" for name, reason in left_out.items() if reason]
    if tying.tied != tied:
        write_config(weights.config | {TIE_FIELD: tying.tied}, staged / weights.folder)
        notes.append(
            f"wrote {TIE_FIELD}: false to config.json, because {framework.name} computes with both matrices"
        )
    return _WrittenWeights(
        tensors=len(tying.tensors),
        parameters=sum(tensor.numel() for tensor in tying.tensors.values()),
        bytes=write_tensors(tying.tensors, staged / weights.folder),
        left_out=(*tying.shared, *left_out),
        notes=tuple(notes),
    )


def _read(weights: WeightsFolder, framework: Framework) -> Iterator[tuple[str, Tensor]]:
    return chain.from_iterable(framework.read(file) for file in weights.files)


def _copy_weights(folder: Path, weights: WeightsFolder, target: Path) -> None:
    """Copy weights that are safetensors already, with their index."""
    index = folder / INDEX
    for file in (*weights.files, *([index] if index.is_file() else [])):
        (target / file.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target / file.relative_to(folder))
