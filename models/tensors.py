"""Which tensor of a checkpoint fills which parameter, decided from safetensors headers alone."""

from collections.abc import Iterator
from dataclasses import dataclass

from corpusmill.models.architectures import ARCHITECTURES
from corpusmill.models.checkpoint import Checkpoint, skeleton
from corpusmill.models.errors import TensorError, indent
from corpusmill.models.headers import StoredTensor, read_headers
from corpusmill.models.sentence_modules import Dense
from corpusmill.models.spec import Architecture

FLOATS = ("F64", "F32", "F16", "BF16")
# Numbers 0, 1, 2, ... that old versions of transformers saved beside the weights.
BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")
# The names that BERT's first TensorFlow checkpoints gave to a norm's weight and bias.
LEGACY_ENDINGS = ((".gamma", ".weight"), (".beta", ".bias"))


@dataclass(frozen=True)
class TensorPlan:
    """Where each parameter comes from.

    `sources` is by our parameter name. `unused` are tensors of other heads of the same family, which the task
    leaves alone. `pooler` says whether an optional pooler is there.
    """

    sources: dict[str, StoredTensor]
    unused: tuple[str, ...]
    pooler: bool


@dataclass(frozen=True)
class _Group:
    """Parameters of one folder, by the name its files should have for them."""

    stored: dict[str, StoredTensor]
    ours: dict[str, str]
    may_stay: tuple[str, ...] = ()


def check_tensors(checkpoint: Checkpoint) -> TensorPlan:
    """Compares the headers with what the config asks for; a TensorError lists every difference."""
    architecture = ARCHITECTURES[checkpoint.model_type]
    stored = _canonical(read_headers(checkpoint.folder), architecture)
    pooler = architecture.has_pooler and checkpoint_name("head.pooler.linear.weight", architecture) in stored
    shapes = {name: tuple(p.shape) for name, p in skeleton(checkpoint, pooler=pooler).named_parameters()}
    groups = [_main_group(stored, shapes, architecture), *_dense_groups(checkpoint, shapes)]
    problems = [problem for group in groups for problem in _problems(group, shapes)]
    if problems:
        raise TensorError(
            f"{checkpoint.folder}: the weights are not those of a {checkpoint.model_type} model for "
            f"{checkpoint.task!r} with this config.json; {len(problems)} differences:{indent(problems)}"
        )
    return TensorPlan(
        sources={ours: group.stored[theirs] for group in groups for theirs, ours in group.ours.items()},
        unused=tuple(sorted(name for group in groups for name in group.stored.keys() - group.ours.keys())),
        pooler=pooler,
    )


def checkpoint_name(ours: str, architecture: Architecture) -> str:
    """A checkpoint's name for one of our parameters, without the family's prefix."""
    for old, new in architecture.renames:
        ours = ours.replace(old, new)
    return ours


def _canonical(stored: dict[str, StoredTensor], architecture: Architecture) -> dict[str, StoredTensor]:
    """The same tensors without prefix, legacy endings, and saved position numbers."""
    canonical: dict[str, StoredTensor] = {}
    for name, tensor in stored.items():
        short = name.removeprefix(architecture.prefix)
        for old, new in LEGACY_ENDINGS:
            short = short.removesuffix(old) + new if short.endswith(old) else short
        if short in canonical:
            raise TensorError(
                f"{tensor.file}: {name} and {canonical[short].name} are two tensors for one parameter"
            )
        if short not in BUFFERS:
            canonical[short] = tensor
    return canonical


def _main_group(
    stored: dict[str, StoredTensor], shapes: dict[str, tuple[int, ...]], architecture: Architecture
) -> _Group:
    ours = {
        checkpoint_name(name, architecture): name for name in shapes if not name.startswith("head.steps.")
    }
    return _Group(stored=stored, ours=ours, may_stay=architecture.head_tensors)


def _dense_groups(checkpoint: Checkpoint, shapes: dict[str, tuple[int, ...]]) -> Iterator[_Group]:
    """The projections of sentence-transformers, each in a folder of its own."""
    modules = checkpoint.sentence_modules
    for index, step in enumerate(modules.steps if modules and checkpoint.task == "embedding" else ()):
        if isinstance(step, Dense):
            start = f"head.steps.{index}."
            ours = {name.removeprefix(start): name for name in shapes if name.startswith(start)}
            yield _Group(stored=read_headers(checkpoint.path / step.folder), ours=ours)


def _problems(group: _Group, shapes: dict[str, tuple[int, ...]]) -> Iterator[str]:
    for theirs, ours in group.ours.items():
        tensor = group.stored.get(theirs)
        if tensor is None:
            yield f"missing: {theirs}, expected shape {list(shapes[ours])}"
        elif tensor.shape != shapes[ours]:
            yield f"wrong shape: {tensor.name}, expected {list(shapes[ours])}, got {list(tensor.shape)}"
        elif tensor.dtype not in FLOATS:
            yield f"wrong dtype: {tensor.name}, expected one of {', '.join(FLOATS)}, got {tensor.dtype}"
    for theirs in sorted(group.stored.keys() - group.ours.keys()):
        if not theirs.startswith(group.may_stay):
            yield f"surplus: {group.stored[theirs].name}, which no parameter of this model takes"
