"""From a framework's names and layouts to those of transformers' PyTorch."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from corpusmill.jobs.convert.names import WORDS, Family
from corpusmill.jobs.convert.spec import Framework, Layout, Tensors
from corpusmill.jobs.errors import ConvertError

FIELD = "tie_word_embeddings"

SHOWN = 20


def translate(
    found: Iterable[tuple[str, Tensor]], *, framework: Framework, family: Family, where: object
) -> tuple[Tensors, list[str]]:
    """The tensors in PyTorch's names and layouts, and the names of buffers that were left out.

    A name that no rule explains is an error, and so are two different tensors of one name.
    """
    tensors: Tensors = {}
    buffers, unknown = [], []
    for name, stored in found:
        ours = _renamed(name, framework)
        if family.is_buffer(ours):
            buffers.append(name)
        elif not family.knows(ours):
            unknown.append(name)
        else:
            _add(tensors, ours, _laid_out(name, stored, framework.layouts), where)
    if unknown:
        raise ConvertError(
            f"{where}: no rule explains {len(unknown)} tensor(s) of this {framework.name} checkpoint:"
            f"{listed(unknown)}"
        )
    return _without_prefix(tensors, family, where), buffers


def _renamed(name: str, framework: Framework) -> str:
    for pattern, replacement in framework.renames:
        name = re.sub(pattern, replacement, name)
    return name


def _laid_out(name: str, tensor: Tensor, layouts: tuple[Layout, ...]) -> Tensor:
    layout = next((layout for layout in layouts if layout.applies(name, tensor)), None)
    return tensor if layout is None else layout.to_torch(tensor)


def _add(tensors: Tensors, name: str, tensor: Tensor, where: object) -> None:
    """Keras writes a shared layer's weights once under each layer that uses it: equal ones are one."""
    if not tensor.is_floating_point():
        raise ConvertError(f"{where}: {name}: expected floating-point numbers, got {tensor.dtype}")
    if name in tensors and not equal(tensors[name], tensor):
        raise ConvertError(f"{where}: {name} is there twice, with different values")
    tensors[name] = tensor


def _without_prefix(tensors: Tensors, family: Family, where: object) -> Tensors:
    """Base models have no prefix in PyTorch; TensorFlow always has it."""
    bare = {name.removeprefix(family.prefix): tensor for name, tensor in tensors.items()}
    if len(bare) < len(tensors):
        both = sorted(name for name in tensors if family.prefix + name in tensors)
        raise ConvertError(f"{where}: {both[0]} is there twice, with and without {family.prefix!r}")
    return bare if all(name.startswith(family.prefix) for name in tensors) else tensors


def equal(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape, dtype and values."""
    return one.shape == other.shape and one.dtype == other.dtype and bool((one == other).all())


# Output matrices that share the word embeddings: written once where they do, twice where they do not.


@dataclass(frozen=True)
class Tying:
    """`shared` were in the source and are written under another name; `tied` is what config.json must say."""

    tensors: Tensors
    shared: tuple[str, ...]
    tied: bool


def settle(tensors: Tensors, family: Family, *, tied: bool, from_pytorch: bool) -> Tying:
    """Makes tensors and config agree on the output matrix, `tied` being what the config says.

    PyTorch's own checkpoints keep a matrix that differs under a config that ties, as transformers reads it.
    TensorFlow computes with what it has whatever the config says: MobileBERT with its own matrix, the other
    families with the embeddings.
    """
    words = next((name for name in tensors if name.endswith(WORDS)), None)
    if not words or not any(name.startswith(_module(family)) for name in tensors):
        return Tying(tensors, (), tied)
    pairs = [(words, family.output), *([family.biases] if family.biases else [])]
    if tied and (from_pytorch or _alike(tensors, words, family.output)):
        shared = [copy for name, copy in pairs if copy in tensors and _alike(tensors, name, copy)]
        kept = {name: tensor for name, tensor in tensors.items() if name not in shared}
        return Tying(kept, tuple(shared), True)
    if from_pytorch and family.output not in tensors:
        return Tying(tensors, (), tied)
    copies = {copy: tensors[name].clone() for name, copy in pairs if name in tensors and copy not in tensors}
    return Tying(tensors | copies, (), False)


def _module(family: Family) -> str:
    """The name that the tensors of the module start with to which the output matrix belongs."""
    return family.output.removesuffix("decoder.weight").removesuffix("weight")


def _alike(tensors: Tensors, name: str, copy: str) -> bool:
    return copy not in tensors or name not in tensors or equal(tensors[name], tensors[copy])


def listed(names: Sequence[str]) -> str:
    """The first names, each on its own line under a message, and how many more there are."""
    more = [f"... and {len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return "".join(f"\n  {line}" for line in [*names[:SHOWN], *more])
