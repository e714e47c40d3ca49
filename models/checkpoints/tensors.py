"""The assignment of a checkpoint's tensors to parameters, from safetensors headers alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from corpusmill.models.architectures import ARCHITECTURES
from corpusmill.models.checkpoints.checkpoint import Checkpoint, skeleton
from corpusmill.models.checkpoints.embedding_plan import TOKEN_POOLINGS
from corpusmill.models.checkpoints.safetensors_headers import StoredTensor, read_headers
from corpusmill.models.checkpoints.sentence_modules import Dense, LayerNorm
from corpusmill.models.checkpoints.spec import Architecture
from corpusmill.models.checkpoints.surplus import hint, training_only
from corpusmill.models.checkpoints.tensor_layouts import AS_STORED, Shape, TensorLayout
from corpusmill.models.errors import OptionError, TensorError, indent
from corpusmill.models.heads import HEADS

NAMES_SHOWN = 8
FLOATS = ("F64", "F32", "F16", "BF16")
# Numbers 0, 1, 2, ... that old versions of transformers saved beside the weights.
BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")
# The names that BERT's first TensorFlow checkpoints gave to a norm's weight and bias.
LEGACY_ENDINGS = ((".gamma", ".weight"), (".beta", ".bias"))
CLASSIFIERS = ("classifier.", "pre_classifier.", "qa_outputs.")
ALIKE = ("text-classification", "token-classification", "multiple-choice")
WORDS, OUTPUT = "encoder.embeddings.words.weight", "head.words.decoder"


@dataclass(frozen=True)
class TensorPlan:
    """The tensor that each parameter is read from.

    `sources` is by our parameter name; two tied parameters have one source. `unused` are tensors that the
    task leaves alone: those of other heads of the same family, idle ones, and those left out. `pooler` says
    whether an optional pooler is there. `notes` say which tensors are left out, and why.
    """

    sources: dict[str, StoredTensor]
    unused: tuple[str, ...]
    pooler: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Group:
    """The parameters of one folder: the stored tensors, and by our names the expected ones."""

    stored: dict[str, StoredTensor]
    theirs: dict[str, str]
    shapes: dict[str, Shape]
    heads: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)


def check_tensors(checkpoint: Checkpoint, ignore: Sequence[str] = ()) -> TensorPlan:
    """Compare the headers with the config; a TensorError lists every difference.

    Surplus tensors whose names match a pattern of `ignore` are left out, as those that only training reads.
    """
    architecture = ARCHITECTURES[checkpoint.model_type]
    _check_own_head(checkpoint)
    stored = _canonical(read_headers(checkpoint.folder), architecture)
    pooler = _has_pooler(checkpoint, architecture, stored)
    _check_pooler(checkpoint, stored_one=pooler)
    shapes = {name: tuple(p.shape) for name, p in skeleton(checkpoint, pooler=pooler).named_parameters()}
    groups = [_main_group(checkpoint, stored, shapes), *_step_groups(checkpoint, shapes)]
    for group in groups:
        group.left_out.update(_left_out(group, ignore))
    problems = [problem for group in groups for problem in _problems(group)]
    if problems:
        raise TensorError(
            f"{checkpoint.folder}: the weights are not those of a {checkpoint.model_type} model for "
            f"{checkpoint.task!r} with this config.json; {len(problems)} differences:{indent(problems)}"
            f"{_way_out(checkpoint, groups)}"
        )
    return TensorPlan(
        sources={ours: group.stored[theirs] for group in groups for ours, theirs in group.theirs.items()},
        unused=tuple(sorted(name for group in groups for name in _left_over(group))),
        pooler=pooler,
        notes=tuple(_notes(groups)),
    )


def _check_own_head(checkpoint: Checkpoint) -> None:
    """Refuse a task whose head has the tensor names of the checkpoint's own head, and another meaning.

    The classifiers of texts, of tokens and of choices have the same names and, often, the same shapes.
    """
    own = next(
        (task for name in checkpoint.architectures for task in ALIKE if name.endswith(HEADS[task].classes)),
        None,
    )
    if own is not None and checkpoint.task in ALIKE and checkpoint.task != own:
        raise TensorError(
            f"{checkpoint.folder}: expected a checkpoint for {checkpoint.task}, got the head of "
            f"{', '.join(checkpoint.architectures)} (config.json: architectures), which was trained for "
            f"{own}; use task: {own}, or embedding for the encoder without its head"
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
    names = [name for name in shapes if not name.startswith(("head.steps.", "head.token_steps."))]
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


def _step_groups(checkpoint: Checkpoint, shapes: dict[str, Shape]) -> Iterator[_Group]:
    """Yield the weights of sentence-transformers' modules, each from its own folder."""
    plan = checkpoint.embedding_plan
    if checkpoint.task != "embedding" and not plan.scores:
        return
    for place, steps in (("head.token_steps.", plan.token_steps), ("head.steps.", plan.steps)):
        for index, step in enumerate(steps):
            if isinstance(step, Dense | LayerNorm):
                start = f"{place}{index}."
                theirs = {
                    name: name.removeprefix(start).removeprefix("map.")
                    for name in shapes
                    if name.startswith(start)
                }
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
    yield from (
        f"surplus: {group.stored[theirs].name}, which this model does not have{hint(theirs)}"
        for theirs in _surplus(group)
    )


def _surplus(group: _Group) -> list[str]:
    return [
        name for name in sorted(_left_over(group)) if name not in group.left_out and not _idle(group, name)
    ]


def _idle(group: _Group, name: str) -> bool:
    """Return whether a tensor belongs to another head of the family, or to no model at all.

    A further tensor of the classifier that runs would be a part of it, such as a second layer.
    """
    root = f"{name.partition('.')[0]}."
    if root in CLASSIFIERS and any(theirs.startswith(root) for theirs in group.theirs.values()):
        return False
    return name.startswith(group.heads) or any(part in name for part in group.idle)


def _left_out(group: _Group, ignore: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the surplus tensors that may be left out, each with the reason."""
    for theirs in sorted(_left_over(group)):
        name = group.stored[theirs].name
        pattern = next((one for one in ignore if fnmatchcase(name, one) or fnmatchcase(theirs, one)), None)
        reason = training_only(theirs) or (f"ignore_tensors has {pattern!r}" if pattern else None)
        if reason is not None and not _idle(group, theirs):
            yield theirs, reason


def _notes(groups: Sequence[_Group]) -> Iterator[str]:
    """Yield a note for each reason to leave tensors out."""
    reasons: dict[str, list[str]] = {}
    for group in groups:
        for theirs, reason in group.left_out.items():
            reasons.setdefault(reason, []).append(group.stored[theirs].name)
    for reason, names in reasons.items():
        more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
        yield f"left out {', '.join(names[:NAMES_SHOWN])}{more}: {reason}"


def _way_out(checkpoint: Checkpoint, groups: Sequence[_Group]) -> str:
    """Return the advice, if a head that is missing or surplus tensors are all that is wrong."""
    problems = [problem for group in groups for problem in _problems(group)]
    if all(problem.startswith("missing: ") for problem in problems) and _lacks_head(groups):
        own = ", ".join(checkpoint.architectures) or "no head"
        return (
            f"\nThe checkpoint has no trained head for {checkpoint.task}: its config.json states {own}. "
            "Use a checkpoint that was trained for this task"
        )
    if not all(problem.startswith("surplus: ") for problem in problems):
        return ""
    names = [group.stored[theirs].name for group in groups for theirs in _surplus(group)]
    patterns = dict.fromkeys(f"{name.partition('.')[0]}.*" if "." in name else name for name in names)
    alone = [pattern for pattern in patterns if _only_surplus(pattern, groups)]
    listed = ", ".join(f'"{pattern}"' for pattern in (alone if len(alone) == len(patterns) else names))
    return f"\nIf the result is right without them, name them: ignore_tensors: [{listed}]"


def _lacks_head(groups: Sequence[_Group]) -> bool:
    """Return whether whole modules of the head are missing, and nothing else; word vectors may be shared."""
    main = groups[0]
    pairs = [(theirs in group.stored, ours) for group in groups for ours, theirs in group.theirs.items()]
    missing = {ours for stored, ours in pairs if not stored}
    modules = {ours.rpartition(".")[0] for ours in missing}
    expected = {
        ours
        for ours, theirs in main.theirs.items()
        if ours.rpartition(".")[0] in modules and theirs.startswith(main.heads)
    }
    return bool(missing) and missing == expected and all(name.startswith("head.") for name in modules)


def _only_surplus(pattern: str, groups: Sequence[_Group]) -> bool:
    """Return whether a pattern matches surplus tensors only."""
    return all(
        theirs in _surplus(group) or not fnmatchcase(tensor.name, pattern)
        for group in groups
        for theirs, tensor in group.stored.items()
    )
