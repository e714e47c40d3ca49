"""The conversion: look at the source, translate each part's tensors, write the new folder."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from torch import Tensor

from corpusmill.jobs.convert.names import DENSE
from corpusmill.jobs.convert.sources import Part, Source, look_at
from corpusmill.jobs.convert.spec import Framework
from corpusmill.jobs.convert.translation import FIELD, Tying, settle, translate
from corpusmill.jobs.convert.writing import (
    appearing,
    check_target,
    copy_small_files,
    write_config,
    write_tensors,
)
from corpusmill.jobs.errors import ConvertError
from corpusmill.models.checkpoints.safetensors_headers import INDEX


@dataclass(frozen=True)
class Converted:
    """What was converted; numbers are of all converted parts together, `bytes` of the written files.

    `left_out` are tensors of the source that are written under another name or not at all: shared matrices
    and saved position numbers. `notes` say what else differs from the source.
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
class _Written:
    tensors: int = 0
    parameters: int = 0
    bytes: int = 0
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def convert(source: str | Path, target: str | Path) -> Converted:
    """Writes a folder with the source's weights as model.safetensors, its config, tokenizer and module files.

    The target appears whole or not at all. Raises ConvertError, and ConfigError for unusable JSON.
    """
    check_target(Path(target))
    found = look_at(Path(source))
    with appearing(Path(target)) as staged:
        for folder in found.folders:
            copy_small_files(found.root / folder, staged / folder)
        written = [_convert(found, part, part.framework, staged) for part in found.parts if part.framework]
        for part in found.parts:
            if part.framework is None:
                _copy_weights(found.root / part.folder, part, staged / part.folder)
    names = dict.fromkeys(part.framework.name for part in found.parts if part.framework)
    return Converted(
        source=str(source),
        target=str(target),
        framework=", ".join(names),
        model_type=found.model_type,
        tensors=sum(part.tensors for part in written),
        parameters=sum(part.parameters for part in written),
        bytes=sum(part.bytes for part in written),
        left_out=tuple(chain.from_iterable(part.left_out for part in written)),
        notes=tuple(chain.from_iterable(part.notes for part in written)),
    )


def _convert(source: Source, part: Part, framework: Framework, staged: Path) -> _Written:
    where = source.root / part.folder
    tensors, buffers = translate(_read(part, framework), framework=framework, family=part.family, where=where)
    if not tensors:
        raise ConvertError(f"{part.files[0]}: expected weights, but there is no tensor in it")
    tensors |= framework.derived(tensors, part.config)
    tied = bool(part.config.get(FIELD, True))
    tying = (
        Tying(tensors, (), tied)
        if part.family is DENSE
        else settle(tensors, part.family, tied=tied, from_pytorch=framework.name == "PyTorch")
    )
    notes = []
    if tying.tied != tied:
        write_config(part.config | {FIELD: tying.tied}, staged / part.folder)
        notes.append(f"config.json now says {FIELD}: false, for {framework.name} computed with both matrices")
    return _Written(
        tensors=len(tying.tensors),
        parameters=sum(tensor.numel() for tensor in tying.tensors.values()),
        bytes=write_tensors(tying.tensors, staged / part.folder),
        left_out=(*tying.shared, *buffers),
        notes=tuple(notes),
    )


def _read(part: Part, framework: Framework) -> Iterator[tuple[str, Tensor]]:
    return chain.from_iterable(framework.read(file) for file in part.files)


def _copy_weights(folder: Path, part: Part, target: Path) -> None:
    """Safetensors beside something that had to be converted stay as they are, with their index."""
    index = folder / INDEX
    for file in (*part.files, *([index] if index.is_file() else [])):
        (target / file.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target / file.relative_to(folder))
