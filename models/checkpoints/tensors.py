"""The assignment of a checkpoint's tensors to parameters, from safetensors headers alone."""

from collections.abc import Iterator
from dataclasses import dataclass

from corpusmill.models.architectures import ARCHITECTURES
from corpusmill.models.checkpoints.checkpoint import Checkpoint, skeleton
from corpusmill.models.checkpoints.embedding_plan import TOKEN_POOLINGS
from corpusmill.models.checkpoints.safetensors_headers import StoredTensor, read_headers
from corpusmill.models.checkpoints.sentence_modules import Dense
from corpusmill.models.checkpoints.spec import Architecture
from corpusmill.models.checkpoints.tensor_layouts import AS_STORED, Shape, TensorLayout
from corpusmill.models.errors import OptionError, TensorError, indent

FLOATS = ("F64", "F32", "F16", "BF16")
# Numbers 0, 1, 2, ... that old versions of transformers saved beside the weights.
BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")
# The names that BERT's first TensorFlow checkpoints gave to a norm's weight and bias.
LEGACY_ENDINGS = ((".gamma", ".weight"), (".beta", ".bias"))
WORDS, OUTPUT = "encoder.embeddings.words.weight", "head.words.decoder"


@dataclass(frozen=True)
class TensorPlan:
    """The tensor that each parameter is read from.

    `sources` is by our parameter name; two tied parameters have one source. `unused` are tensors that the
    task leaves alone: those of other heads of the same family, and idle ones. `pooler` says whether an
    optional pooler is there.
    """

    sources: dict[str, StoredTensor]
    unused: tuple[str, ...]
    pooler: bool


@dataclass(frozen=True)
class _Group:
    """The parameters of one folder: the stored tensors, and by our names the expected ones."""

    stored: dict[str, StoredTensor]
    theirs: dict[str, str]
    shapes: dict[str, Shape]
    heads: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()


def check_tensors(checkpoint: Checkpoint) -> TensorPlan:
    """Compare the headers with the config; a TensorError lists every difference."""
    architecture = ARCHITECTURES[checkpoint.model_type]
    stored = _canonical(read_headers(checkpoint.folder), architecture)
    pooler = _has_pooler(checkpoint, architecture, stored)
    _check_pooler(checkpoint, stored_one=pooler)
    shapes = {name: tuple(p.shape) for name, p in skeleton(checkpoint, pooler=pooler).named_parameters()}
    groups = [_main_group(checkpoint, stored, shapes), *_dense_groups(checkpoint, shapes)]
    problems = [problem for group in groups for problem in _problems(group)]
    if problems:
        raise TensorError(
            f"{checkpoint.folder}: the weights are not those of a {checkpoint.model_type} model for "
            f"{checkpoint.task!r} with this config.json; {len(problems)} differences:{indent(problems)}"
        )
    return TensorPlan(
        sources={ours: group.stored[theirs] for group in groups for ours, theirs in group.theirs.items()},
        unused=tuple(sorted(name for group in groups for name in _left_over(group))),
        pooler=pooler,
    )


def checkpoint_name(ours: str, architecture: Architecture) -> str:
    """Return a checkpoint's name for one of our parameters, without the family's prefix."""
    for old, new in architecture.renames:
        ours = ours.replace(old, new)
    return ours


def layout_of(ours: str, architecture: Architecture) -> TensorLayout:
    """Return the layout in which the family's checkpoints store one of our parameters."""
    return next(
        (layout for ending, layout in architecture.tensor_layouts if ours.endswith(ending)), AS_STORED
    )


def _canonical(stored: dict[str, StoredTensor], architecture: Architecture) -> dict[str, StoredTensor]:
    """Return the same tensors without prefix, legacy endings, and saved position numbers."""
    canonical: dict[str, StoredTensor] = {}
    for name, tensor in stored.items():
        short = name.removeprefix(architecture.prefix)
        for old, new in LEGACY_ENDINGS:
            short = short.removesuffix(old) + new if short.endswith(old) else short
        if short in canonical:
            raise TensorError(
                f"{tensor.file}: {name} and {canonical[short].name} are two tensors of one parameter"
            )
        if short not in BUFFERS:
            canonical[short] = tensor
    return canonical


def _has_pooler(checkpoint: Checkpoint, architecture: Architecture, stored: dict[str, StoredTensor]) -> bool:
    """Return whether there is a pooler: if it has weights, they must be stored."""
    summary = architecture.heads(checkpoint.config).pooler
    if summary is None or not summary.linear:
        return summary is not None
    return checkpoint_name("head.pooler.map.linear.weight", architecture) in stored


def _check_pooler(checkpoint: Checkpoint, *, stored_one: bool) -> None:
    if checkpoint.task == "embedding" and checkpoint.embedding_plan.needs_pooler and not stored_one:
        raise OptionError(
            f"pooling: {checkpoint.folder} was stored without the pooler's weights; "
            f"use one of {', '.join(TOKEN_POOLINGS)}"
        )


def _main_group(checkpoint: Checkpoint, stored: dict[str, StoredTensor], shapes: dict[str, Shape]) -> _Group:
    architecture = ARCHITECTURES[checkpoint.model_type]
    names = [name for name in shapes if not name.startswith("head.steps.")]
    second = _second_names(checkpoint, architecture)
    theirs = {ours: checkpoint_name(ours, architecture) for ours in names}
    for ours in second.keys() & theirs.keys():
        if theirs[ours] not in stored and second[ours] in stored:
            theirs[ours] = second[ours]
    return _Group(
        stored=stored,
        theirs=theirs,
        shapes={ours: layout_of(ours, architecture).stored(shapes[ours]) for ours in names},
        heads=architecture.head_tensors,
        idle=architecture.idle_tensors,
    )


def _second_names(checkpoint: Checkpoint, architecture: Architecture) -> dict[str, str]:
    """Return each parameter's second name: tied matrices are stored under either name, or both.

    A matrix stored under both names is read under its own, as transformers does.
    """
    tied = {f"{OUTPUT}.weight": WORDS, WORDS: f"{OUTPUT}.weight"} if checkpoint.tied else {}
    names = {ours: checkpoint_name(other, architecture) for ours, other in tied.items()}
    if architecture.output_bias is not None:
        names[f"{OUTPUT}.bias"] = architecture.output_bias
    return names


def _dense_groups(checkpoint: Checkpoint, shapes: dict[str, Shape]) -> Iterator[_Group]:
    """Yield the projections of sentence-transformers, each from its own folder."""
    for index, step in enumerate(checkpoint.embedding_plan.steps if checkpoint.task == "embedding" else ()):
        if isinstance(step, Dense):
            start = f"head.steps.{index}."
            theirs = {name: name.removeprefix(start) for name in shapes if name.startswith(start)}
            yield _Group(read_headers(checkpoint.path / step.folder), theirs, shapes)


def _left_over(group: _Group) -> set[str]:
    return group.stored.keys() - set(group.theirs.values())


def _problems(group: _Group) -> Iterator[str]:
    for ours, theirs in group.theirs.items():
        tensor, shape = group.stored.get(theirs), group.shapes[ours]
        if tensor is None:
            yield f"missing: {theirs}, expected shape {list(shape)}"
        elif tensor.shape != shape:
            yield f"wrong shape: {tensor.name}, expected {list(shape)}, got {list(tensor.shape)}"
        elif tensor.dtype not in FLOATS:
            yield f"wrong dtype: {tensor.name}, expected one of {', '.join(FLOATS)}, got {tensor.dtype}"
    for theirs in sorted(_left_over(group)):
        if not theirs.startswith(group.heads) and not any(part in theirs for part in group.idle):
            yield f"surplus: {group.stored[theirs].name}, which this model does not have"
