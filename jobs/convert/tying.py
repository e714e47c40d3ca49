"""Output matrices that share the word embeddings: written once where they do, twice where they do not."""

from dataclasses import dataclass

from corpusmill.jobs.convert.names import WORDS, Family
from corpusmill.jobs.convert.spec import Tensors
from corpusmill.jobs.convert.translation import equal

FIELD = "tie_word_embeddings"


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
