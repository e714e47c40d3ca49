"""Translation of a framework's names and layouts into those of transformers' PyTorch."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import Tensor

from corpusmill.jobs.convert.names import WORD_EMBEDDINGS, Family
from corpusmill.jobs.convert.spec import Framework, SourceLayout, Tensors
from corpusmill.jobs.errors import ConvertError
from corpusmill.models.checkpoints.surplus import hint, training_only

TIE_FIELD = "tie_word_embeddings"

NAMES_SHOWN = 20


def translate(
    found: Iterable[tuple[str, Tensor]],
    *,
    framework: Framework,
    family: Family,
    where: object,
    ignore: Sequence[str] = (),
) -> tuple[Tensors, dict[str, str]]:
    """Return the tensors in PyTorch's names and layouts, and the names left out, each with the reason.

    The reason of a buffer is empty. A name that no rule covers is an error, unless a pattern of `ignore`
    matches it, and so are two different tensors of one name.
    """
    tensors: Tensors = {}
    left_out: dict[str, str] = {}
    unknown = []
    for name, stored in found:
        ours = _renamed(name, framework)
        reason = None if family.knows(ours) else _reason(name, ours, family, ignore)
        if reason is not None:
            left_out[name] = reason
        elif not family.knows(ours):
            unknown.append(name)
        else:
            _add(tensors, ours, _to_torch_layout(name, stored, framework.layouts), where)
    if unknown:
        raise ConvertError(
            f"{where}: no rule covers {len(unknown)} tensor(s) of this {framework.name} checkpoint:"
            f"{name_lines([f'{name}{hint(_renamed(name, framework))}' for name in unknown])}\n"
            "If the model is right without them, leave them out: --ignore-tensors PATTERN, once per pattern"
        )
    return _without_prefix(tensors, family, where), left_out


def _reason(name: str, ours: str, family: Family, ignore: Sequence[str]) -> str | None:
    """Return why a tensor that no model has may be left out; None if it may not."""
    if family.is_buffer(ours):
        return ""
    pattern = next((one for one in ignore if fnmatchcase(name, one) or fnmatchcase(ours, one)), None)
    own = training_only(ours.removeprefix(family.prefix))
    return own or (f"--ignore-tensors {pattern}" if pattern else None)


def _renamed(name: str, framework: Framework) -> str:
    for pattern, replacement in framework.renames:
        name = re.sub(pattern, replacement, name)
    return name


def _to_torch_layout(name: str, tensor: Tensor, layouts: tuple[SourceLayout, ...]) -> Tensor:
    layout = next((layout for layout in layouts if layout.applies(name, tensor)), None)
    return tensor if layout is None else layout.to_torch(tensor)


def _add(tensors: Tensors, name: str, tensor: Tensor, where: object) -> None:
    """Add a tensor; Keras writes shared weights under each layer that uses them, so equal ones are one."""
    if not tensor.is_floating_point():
        raise ConvertError(f"{where}: {name}: expected floating-point numbers, got {tensor.dtype}")
    if name in tensors and not tensors_equal(tensors[name], tensor):
        raise ConvertError(f"{where}: {name} occurs twice, with different values")
    tensors[name] = tensor


def _without_prefix(tensors: Tensors, family: Family, where: object) -> Tensors:
    """Return base models' tensors without the prefix, which TensorFlow always writes and PyTorch does not."""
    bare = {name.removeprefix(family.prefix): tensor for name, tensor in tensors.items()}
    if len(bare) < len(tensors):
        both = sorted(name for name in tensors if family.prefix + name in tensors)
        raise ConvertError(f"{where}: {both[0]} occurs twice, with and without {family.prefix!r}")
    return bare if all(name.startswith(family.prefix) for name in tensors) else tensors


def tensors_equal(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors have the same shape, dtype and values."""
    return one.shape == other.shape and one.dtype == other.dtype and bool((one == other).all())


# Output matrices and word embeddings: written once if they are shared, twice if not.


@dataclass(frozen=True)
class Tying:
    """The tensors to write; `shared` are left out, as they equal another one; `tied` is for config.json."""

    tensors: Tensors
    shared: tuple[str, ...]
    tied: bool


def resolve_tying(tensors: Tensors, family: Family, *, tied: bool, from_pytorch: bool) -> Tying:
    """Make tensors and config agree on the output matrix; `tied` is the value in the config.

    A PyTorch checkpoint may have a matrix of its own under a config that ties: it is kept, as transformers
    does. TensorFlow ignores the config: MobileBERT uses its own matrix, the other families the embeddings.
    """
    words = next((name for name in tensors if name.endswith(WORD_EMBEDDINGS)), None)
    if not words or not any(name.startswith(_output_module(family)) for name in tensors):
        return Tying(tensors, (), tied)
    pairs = [(words, family.output), *([family.biases] if family.biases else [])]
    if tied and (from_pytorch or _equal_or_absent(tensors, words, family.output)):
        shared = [copy for name, copy in pairs if copy in tensors and _equal_or_absent(tensors, name, copy)]
        kept = {name: tensor for name, tensor in tensors.items() if name not in shared}
        return Tying(kept, tuple(shared), True)
    if from_pytorch and family.output not in tensors:
        return Tying(tensors, (), tied)
    copies = {copy: tensors[name].clone() for name, copy in pairs if name in tensors and copy not in tensors}
    return Tying(tensors | copies, (), False)


def _output_module(family: Family) -> str:
    """Return the prefix of the output matrix's module."""
    return family.output.removesuffix("decoder.weight").removesuffix("weight")


def _equal_or_absent(tensors: Tensors, name: str, copy: str) -> bool:
    return copy not in tensors or name not in tensors or tensors_equal(tensors[name], tensors[copy])


def name_lines(names: Sequence[str]) -> str:
    """Return the first names, each on a line of its own, and the number of further ones."""
    more = [f"... and {len(names) - NAMES_SHOWN} more"] if len(names) > NAMES_SHOWN else []
    return "".join(f"\n  {line}" for line in [*names[:NAMES_SHOWN], *more])
