"""The contents of a checkpoint, and the parts that this version uses: `corpusmill inspect`.

Weights are read for the digest only. Problems are listed, not raised: a checkpoint that no job could run can
be inspected.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from corpusmill.jobs.resolve.tokenizer_notes import tokenizer_notes
from corpusmill.models import Checkpoint, ModelError, OptionError, check_tensors, read_checkpoint
from corpusmill.models.checkpoints.key_check import key_notes
from corpusmill.models.checkpoints.safetensors_headers import read_headers
from corpusmill.models.checkpoints.sentence_modules import Dense, LayerNorm, VectorStep
from corpusmill.pipeline.checkpoints.find import find_checkpoint
from corpusmill.pipeline.errors import CorpusmillError
from corpusmill.pipeline.tasks.score_functions import score_notes
from corpusmill.pipeline.tokenize.tokenizer import load_tokenizer, model_max_length

T = TypeVar("T")
LENGTHS = (128, 512)
"""Sequence lengths for which the cost per token is reported."""


@dataclass(frozen=True, slots=True)
class TokenizerInfo:
    """A tokenizer: its file, its algorithm, and its treatment of texts."""

    file: str
    model: str
    vocabulary: int
    lower_case: bool | None
    strip_accents: bool | None
    max_length: int | None


@dataclass(frozen=True)
class Inspection:
    """The properties of a checkpoint. `None` is unknown; the reason is one of `problems`.

    `task` is the default task of a job, `head` the classes in the configuration. `sizes` holds the settings
    of the architecture by our names. `weights` counts the stored numbers per dtype; `unused` names tensors
    that the task does not read. `max_length` is what `auto` means in a job. `modules` are the modules of
    sentence-transformers: pooling modes, then the later ones. `files` maps names to sizes in bytes. `notes`
    are those that a run prints: tensors that are left out, choices that the folder leaves open, settings
    without effect, and differences from transformers.
    """

    checkpoint: str
    source: str
    digest: str
    architecture: str
    head: tuple[str, ...]
    task: str | None
    sizes: dict[str, Any]
    parameters: int
    flops_per_token: dict[str, int]
    max_length: int
    weights: dict[str, int] | None
    unused: tuple[str, ...] | None
    tokenizer: TokenizerInfo | None
    labels: tuple[str, ...]
    problem_type: str | None
    modules: tuple[str, ...]
    files: dict[str, int]
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()


def inspect_checkpoint(url: str, task: str | None = None) -> Inspection:
    """Describe a checkpoint of any source; one without a readable config.json is a ModelError."""
    try:
        source = find_checkpoint(url)
    except CorpusmillError as error:
        raise error.at("CHECKPOINT") from None
    problems: list[str] = []
    checkpoint = _read_for_task(source.folder, task, problems)
    headers = _value_or_problem(lambda: read_headers(checkpoint.folder), problems)
    plan = _value_or_problem(lambda: check_tensors(checkpoint), problems) if headers is not None else None
    sentence = checkpoint.sentence_modules is not None
    stated = _value_or_problem(lambda: model_max_length(str(checkpoint.folder)), problems)
    own = _value_or_problem(lambda: model_max_length(str(checkpoint.folder), sentence=sentence), [])
    keys = _value_or_problem(
        lambda: key_notes(checkpoint.path, checkpoint.folder, checkpoint.model_type), problems
    )
    return Inspection(
        checkpoint=url,
        source=source.source,
        digest=source.digest,
        architecture=checkpoint.model_type,
        head=checkpoint.architectures,
        task=task or checkpoint.default_job_task,
        sizes=asdict(checkpoint.config),  # type: ignore[call-overload]
        parameters=checkpoint.parameters,
        flops_per_token={str(length): checkpoint.flops_per_token(length) for length in LENGTHS},
        max_length=min(own or checkpoint.max_positions, checkpoint.max_positions),
        weights=None if headers is None else _by_dtype(headers.values()),
        unused=None if plan is None else plan.unused,
        tokenizer=_value_or_problem(
            lambda: _tokenizer(checkpoint.folder, stated, sentence=sentence), problems
        ),
        labels=checkpoint.labels,
        problem_type=checkpoint.problem_type,
        modules=_modules(checkpoint),
        files=_files(source.folder),
        problems=tuple(problems),
        notes=(
            *checkpoint.notes,
            *(plan.notes if plan is not None else ()),
            *(keys or ()),
            *score_notes(checkpoint, task or checkpoint.default_job_task),
            *_notes(checkpoint, task or checkpoint.default_job_task),
        ),
    )


def inspection_lines(inspection: Inspection) -> Iterator[str]:
    """Yield the lines that people read."""
    head = ", ".join(inspection.head) or "no head stated"
    costs = " and ".join(
        f"{cost / 1e6:,.2f} at {length}" for length, cost in inspection.flops_per_token.items()
    )
    weights = ", ".join(f"{count:,} {dtype}" for dtype, count in (inspection.weights or {}).items())
    yield f"{inspection.checkpoint}, digest {inspection.digest[:16]}"
    yield f"  {inspection.architecture}, {head}; task {inspection.task or 'unknown'}"
    yield f"  {', '.join(f'{name} {value}' for name, value in inspection.sizes.items())}"
    yield f"  {inspection.parameters:,} parameters; max_length {inspection.max_length}"
    yield f"  MFLOPs per token: {costs} tokens"
    yield f"  weights: {weights or 'unknown'}"
    yield f"  tokenizer: {_tokenizer_line(inspection.tokenizer) if inspection.tokenizer else 'unknown'}"
    yield f"  labels: {', '.join(inspection.labels)}; problem_type {inspection.problem_type or 'not stated'}"
    if inspection.modules:
        yield f"  sentence-transformers: {'; '.join(inspection.modules)}"
    if inspection.unused:
        yield f"  unused tensors: {', '.join(inspection.unused)}"
    yield from (f"  {size:>14,} bytes  {name}" for name, size in inspection.files.items())
    yield from (f"  note: {note}" for note in inspection.notes)
    yield from (f"  problem: {problem}" for problem in inspection.problems)


def _tokenizer_line(tokenizer: TokenizerInfo) -> str:
    return (
        f"{tokenizer.model} of {tokenizer.file}, {tokenizer.vocabulary:,} tokens, "
        f"lower_case {tokenizer.lower_case}, strip_accents {tokenizer.strip_accents}, "
        f"max_length {tokenizer.max_length}"
    )


def _read_for_task(folder: Path, task: str | None, problems: list[str]) -> Checkpoint:
    """Read a checkpoint for a task, or as an encoder if this version does not know its head."""
    try:
        return read_checkpoint(folder, task)
    except OptionError as error:
        if task is not None:
            raise CorpusmillError(str(error)).at("--task") from None
        problems.append(str(error))
        return read_checkpoint(folder, "base")


def _value_or_problem(read: Callable[[], T], problems: list[str]) -> T | None:
    try:
        return read()
    except (ModelError, CorpusmillError) as error:
        # Differences of tensors are listed one per line, after a line with their count.
        first, *lines = str(error).splitlines()
        problems += [line.strip() for line in lines] or [first]
        return None


def _notes(checkpoint: Checkpoint, task: str | None) -> tuple[str, ...]:
    """Return the notes about the tokenizer; none if it cannot be read, which is a problem already."""
    return _value_or_problem(lambda: tokenizer_notes(checkpoint, task, pairs=True), []) or ()


def _by_dtype(tensors: Any) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for tensor in tensors:
        size = 1
        for extent in tensor.shape:
            size *= extent
        counts[tensor.dtype] += size
    return dict(counts)


def _tokenizer(folder: Path, limit: int | None, *, sentence: bool) -> TokenizerInfo:
    tokenizer = load_tokenizer(str(folder), sentence=sentence)
    normalizer = tokenizer.normalizer
    return TokenizerInfo(
        file="tokenizer.json" if (folder / "tokenizer.json").is_file() else "vocab.txt",
        model=type(tokenizer.model).__name__,
        vocabulary=tokenizer.get_vocab_size(),
        lower_case=getattr(normalizer, "lowercase", None),
        strip_accents=getattr(normalizer, "strip_accents", None),
        max_length=limit,
    )


def _modules(checkpoint: Checkpoint) -> tuple[str, ...]:
    modules = checkpoint.sentence_modules
    if modules is None:
        return ()
    if modules.splade is not None:
        pooling = f"splade {modules.splade.strategy}, {modules.splade.logarithms} logarithm(s)"
    elif modules.classifier and not modules.pooling:
        pooling = "the classifier's scores"
    else:
        pooling = f"pooling {'+'.join(modules.pooling)}"
    return (
        *([f"route {modules.route} of {', '.join(modules.routes)}"] if modules.route else []),
        *(f"tokens: {_step(step)}" for step in modules.token_steps),
        pooling,
        *map(_step, modules.steps),
        *([f"truncate_dim {modules.truncate_dim}"] if modules.truncate_dim else []),
        *([f"max_active_dims {modules.max_active_dims}"] if modules.max_active_dims else []),
    )


def _step(step: VectorStep) -> str:
    if isinstance(step, Dense):
        residual = " with residual" if step.residual else ""
        return f"dense {step.in_features} -> {step.out_features}, {step.activation}{residual}"
    return "layer norm" if isinstance(step, LayerNorm) else "normalize"


def _files(folder: Path) -> dict[str, int]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in paths}
