"""The check of one entry of `models:` against its checkpoint."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from corpusmill.jobs.config.explain import explain
from corpusmill.jobs.config.familiar_names import task_hint
from corpusmill.jobs.config.schema import ModelConfig
from corpusmill.jobs.errors import ConfigError
from corpusmill.jobs.resolve.checks import Checks
from corpusmill.jobs.resolve.dtype import measured_once
from corpusmill.jobs.resolve.tokenizer_notes import tokenizer_notes
from corpusmill.models import (
    Checkpoint,
    DtypeChoice,
    ModelError,
    check_tensors,
    choose_dtype,
    read_checkpoint,
)
from corpusmill.models import OptionError as ModelOptionError
from corpusmill.models.checkpoints.key_check import key_notes
from corpusmill.models.cpu.int8 import has_int8_products
from corpusmill.pipeline.checkpoints.find import FoundCheckpoint, find_checkpoint, title
from corpusmill.pipeline.encode.sequences import Layout, read_template
from corpusmill.pipeline.errors import CorpusmillError, OptionError
from corpusmill.pipeline.spec import ModelSpec, PoolSpec, TokenizerSpec
from corpusmill.pipeline.tasks import TASKS, embedding_options
from corpusmill.pipeline.tasks.score_functions import score_notes
from corpusmill.pipeline.tasks.task import Needs, Task
from corpusmill.pipeline.tokenize.settings import read_settings
from corpusmill.pipeline.tokenize.tokenizer import (
    ids_above,
    load_tokenizer,
    model_max_length,
    tokenizer_digest,
)

TOKENS_PER_BATCH = {"cpu": 2048, "cuda": 65536}
TYPICAL_LENGTH = 128
"""Tokens of the sequence for which a model's cost per token is computed."""
OPTION_STAND_INS: dict[str, Any] = {"candidate_labels": ["?"], "calibration": [-1.0, 1.0], "questions": ["?"]}
"""Valid values of options that some tasks require, to check the other options with; no job uses them."""


@dataclass(frozen=True)
class ResolvedModel:
    """A model of the pipeline, its cost and needs, and its output columns.

    `notes` are messages for the user about its checkpoint.
    """

    config: ModelConfig
    spec: ModelSpec
    flops_per_token: int
    needs: Needs
    columns: tuple[str, ...]
    dtype_reason: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class CheckedModel:
    """A model whose checkpoint and task fit together; `resolved` is None if it has another problem."""

    task: str
    prefix: str
    needs: Needs
    columns: tuple[str, ...]
    resolved: ResolvedModel | None


@dataclass(frozen=True)
class _Loaded:
    """A checkpoint that was read for a task, and the object of that task."""

    source: FoundCheckpoint
    checkpoint: Checkpoint
    task_object: Task
    options: dict[str, Any]


def check_model(
    config: ModelConfig, where: str, checks: Checks, *, pairs: bool, recorded: str | None = None
) -> CheckedModel | None:
    """Check a model's checkpoint, tensors, tokenizer and options; weights are read for the digest only.

    `pairs` says whether the job reads a second text column. `recorded` is the dtype that `auto` meant when
    the output was begun: it keeps this meaning until the end, on every machine.
    """
    before = len(checks.problems)
    source = checks.run(f"{where}.checkpoint", lambda: _find_checkpoint(config, where))
    task = checks.run(f"{where}.task", lambda: _task_name(config, source, where))
    _check_device(config, where, checks)
    options = _options(config, task, where, checks) if task else {}
    loaded = _load_for_task(source, task, options, where, checks) if source and task else None
    checkpoint = loaded.checkpoint if loaded else _read_encoder(source, where, checks)
    if checkpoint is None:
        return None
    max_length = checks.run(f"{where}.checkpoint", lambda: _max_length(config, checkpoint, where))
    if task is None or loaded is None:
        return None
    task_object = loaded.task_object
    plan = checks.run(f"{where}.checkpoint", lambda: check_tensors(checkpoint, config.ignore_tensors))
    keys = checks.run(
        f"{where}.checkpoint", lambda: key_notes(checkpoint.path, checkpoint.folder, checkpoint.model_type)
    )
    checks.run(f"{where}.long_text", lambda: _check_windows(config, task, task_object, where))
    longest = max_length or checkpoint.max_positions
    tokenizer = checks.run(
        f"{where}.checkpoint", lambda: _tokenizer(config, loaded, longest, where, pairs=pairs)
    )
    if tokenizer is not None and max_length is not None:
        layout = checks.run(f"{where}.checkpoint", lambda: _layout(config, tokenizer, max_length))
        if layout is not None:
            checks.run(f"{where}.max_length", lambda: _check_room(layout, tokenizer, loaded, where))
            checks.run(f"{where}.checkpoint", lambda: _check_token_types(layout, tokenizer, loaded, where))
    resolved = None
    if len(checks.problems) == before and not checks.unread and tokenizer is not None and plan is not None:
        notes = (*checkpoint.notes, *plan.notes, *(keys or ()))
        resolved = checks.run(
            f"{where}.checkpoint",
            lambda: _resolve(
                config, task, loaded, max_length=longest, tokenizer=tokenizer, recorded=recorded, notes=notes
            ),
        )
    return CheckedModel(task, _prefix(config), task_object.needs, _columns(config, task_object), resolved)


def resolve_model(config: ModelConfig, where: str, *, pairs: bool) -> ResolvedModel:
    """Return a model without problems; else raise a ConfigError with all of them."""
    checks = Checks()
    checked = check_model(config, where, checks, pairs=pairs)
    if checks.problems or checked is None or checked.resolved is None:
        raise ConfigError(checks.problems, where)
    return checked.resolved


def model_spec(checkpoint: str, *, pairs: bool = False, **options: Any) -> ModelSpec:
    """Return a model for your own program, with the options of a `models` entry of a job file.

    `pairs` says that the program reads a second text column. A wrong option is a ConfigError.
    """
    try:
        config = ModelConfig.model_validate({"checkpoint": checkpoint, **options})
    except ValidationError as error:
        raise ConfigError(explain(error, ModelConfig), "model") from None
    return resolve_model(config, "model", pairs=pairs).spec


def _resolve(
    config: ModelConfig,
    task: str,
    loaded: _Loaded,
    *,
    max_length: int,
    tokenizer: TokenizerSpec,
    recorded: str | None,
    notes: tuple[str, ...],
) -> ResolvedModel:
    """Return a checked model; the meaning of `dtype: auto` is measured here."""
    checkpoint, task_object = loaded.checkpoint, loaded.task_object
    device = _device(config)
    dtype = _dtype(config, checkpoint, device, recorded)
    spec = ModelSpec(
        title=config.name or title(config.checkpoint),
        prefix=_prefix(config),
        checkpoint=str(loaded.source.folder),
        source=loaded.source.source,
        digest=loaded.source.digest,
        task=task,
        dtype=dtype.dtype,
        device=device,
        max_length=max_length,
        stride=config.stride if config.long_text == "window" else None,
        tokens_per_batch=(
            TOKENS_PER_BATCH[device] if config.tokens_per_batch == "auto" else config.tokens_per_batch
        ),
        tokenizer=tokenizer,
        pool=PoolSpec(1, 1),
        options=loaded.options,
        ignore_tensors=tuple(config.ignore_tensors),
    )
    return ResolvedModel(
        config,
        spec,
        checkpoint.flops_per_token(TYPICAL_LENGTH) * task_object.needs.passes,
        task_object.needs,
        _columns(config, task_object),
        dtype.reason,
        (
            *notes,
            *score_notes(checkpoint, task, loaded.options.get("function_to_apply")),
            *tokenizer_notes(checkpoint, task, pairs=_reads_pairs(tokenizer, task_object.needs)),
        ),
    )


def _prefix(config: ModelConfig) -> str:
    return f"{config.name}_" if config.name else ""


def _columns(config: ModelConfig, task_object: Task) -> tuple[str, ...]:
    return tuple(_prefix(config) + name for name in task_object.schema.names)


def _find_checkpoint(config: ModelConfig, where: str) -> FoundCheckpoint:
    try:
        return find_checkpoint(config.checkpoint)
    except CorpusmillError as error:
        raise error.at(f"{where}.checkpoint") from None


def _task_name(config: ModelConfig, source: FoundCheckpoint | None, where: str) -> str | None:
    """Return the task of the job, else of the checkpoint; None without a task and a checkpoint."""
    if config.task is None and source is None:
        return None
    task = config.task
    if task is None and source is not None:
        try:
            task = read_checkpoint(source.folder).default_job_task
        except ModelError as error:
            raise CorpusmillError(str(error)).at(f"{where}.checkpoint") from None
    if task not in TASKS:
        hint = task_hint(task, list(TASKS)) if task else ""
        raise CorpusmillError(f"expected one of {', '.join(TASKS)}, got {task!r}{hint}").at(f"{where}.task")
    return task


def _options(config: ModelConfig, task: str, where: str, checks: Checks) -> dict[str, Any]:
    """Return the task options of the job; each option of another task is a problem."""
    allowed = TASKS[task].options
    known = {name for kind in TASKS.values() for name in kind.options}
    given = {name: getattr(config, name) for name in sorted(known & config.model_fields_set)}
    for name in [name for name in given if name not in allowed]:
        others = ", ".join(other for other, kind in TASKS.items() if name in kind.options)
        checks.add(
            f"{where}.{name}", f"is an option of {others}, but the task of this model is {task}; leave it out"
        )
        del given[name]
    return given


def _load_for_task(
    source: FoundCheckpoint, task: str, options: dict[str, Any], where: str, checks: Checks
) -> _Loaded | None:
    """Read a checkpoint for a task; each wrong option is a problem, and the others are checked."""
    tried: set[str] = set()
    while True:
        try:
            checkpoint = _read_checkpoint(source.folder, task, options, where)
            return _Loaded(source, checkpoint, _make_task(task, checkpoint, options, where), options)
        except ModelError as error:
            checks.add(f"{where}.checkpoint", str(error))
            return None
        except CorpusmillError as error:
            field = error.field or where
            checks.add(field, str(error))
            wrong = field.removeprefix(f"{where}.")
            if wrong in tried or wrong not in {*options, *OPTION_STAND_INS}:
                return None
            tried.add(wrong)
            rest = {name: value for name, value in options.items() if name != wrong}
            options = rest | ({wrong: OPTION_STAND_INS[wrong]} if wrong in OPTION_STAND_INS else {})


def _read_encoder(source: FoundCheckpoint | None, where: str, checks: Checks) -> Checkpoint | None:
    """Read a checkpoint whose task is not known: some settings can still be checked."""
    if source is None:
        return None
    return checks.run(f"{where}.checkpoint", lambda: read_checkpoint(source.folder, "base"))


def _read_checkpoint(folder: Path, task: str, options: dict[str, Any], where: str) -> Checkpoint:
    """Read a checkpoint for a task; the error of an option has the field of the option."""
    try:
        return read_checkpoint(
            folder,
            TASKS[task].head,
            embedding=embedding_options(task, options),
            route=options.get("route"),
        )
    except ModelOptionError as error:
        name, _, message = str(error).partition(": ")
        if name not in options:
            raise
        raise CorpusmillError(message).at(f"{where}.{name}") from None


def _make_task(task: str, checkpoint: Checkpoint, options: dict[str, Any], where: str) -> Task:
    try:
        return TASKS[task](checkpoint, options)
    except OptionError as error:
        raise error.at(f"{where}.{error.field}" if error.field else where) from None


def _check_windows(config: ModelConfig, task: str, task_object: Task, where: str) -> None:
    if config.long_text == "window" and not task_object.needs.windows:
        raise CorpusmillError(f"expected truncate, got window: {task} reads a text as a whole").at(
            f"{where}.long_text"
        )


def _check_device(config: ModelConfig, where: str, checks: Checks) -> None:
    """Check the device and the dtype; this needs no checkpoint."""
    device = checks.run(f"{where}.device", lambda: _available_device(config, where))
    if device is not None:
        checks.run(f"{where}.dtype", lambda: _check_dtype(config, device, where))


def _available_device(config: ModelConfig, where: str) -> str:
    if config.device == "cuda" and config.pool.gpus == 0:
        raise CorpusmillError(
            "expected a share of a GPU for device: cuda, got 0; use auto, or device: cpu"
        ).at(f"{where}.pool.gpus")
    if config.device == "cuda" and not torch.cuda.is_available():
        raise CorpusmillError("expected a CUDA device, found none; use device: cpu or auto").at(
            f"{where}.device"
        )
    return _device(config)


def _device(config: ModelConfig) -> str:
    if config.device == "auto":
        return "cuda" if torch.cuda.is_available() and config.pool.gpus != 0 else "cpu"
    return config.device


def _check_dtype(config: ModelConfig, device: str, where: str) -> None:
    if config.dtype == "int8" and (device != "cpu" or not has_int8_products()):
        raise CorpusmillError(
            "int8 needs a CPU with VNNI instructions; expected auto, float32 or bfloat16"
        ).at(f"{where}.dtype")
    if config.dtype == "float16" and device == "cpu":
        raise CorpusmillError(
            "float16 needs a CUDA device; expected auto, float32 or bfloat16 on the CPU"
        ).at(f"{where}.dtype")


def _dtype(config: ModelConfig, checkpoint: Checkpoint, device: str, recorded: str | None) -> DtypeChoice:
    if config.dtype != "auto":
        return DtypeChoice(config.dtype, f"{config.dtype}: set in the job")
    if recorded is not None and (config.allow_int8 or recorded != "int8"):
        return DtypeChoice(recorded, f"{recorded}: chosen when this output was begun")
    return choose_dtype(checkpoint, device, allow_int8=config.allow_int8, measured=measured_once)


def _max_length(config: ModelConfig, checkpoint: Checkpoint, where: str) -> int:
    """Return the length of the longest sequence: of the job or the checkpoint, at most its positions."""
    if config.max_length == "auto":
        own = model_max_length(str(checkpoint.folder), sentence=checkpoint.sentence_modules is not None)
        return min(own or checkpoint.max_positions, checkpoint.max_positions)
    if config.max_length > checkpoint.max_positions:
        raise CorpusmillError(
            f"expected at most the checkpoint's {checkpoint.max_positions} positions, got {config.max_length}"
        ).at(f"{where}.max_length")
    return config.max_length


def _tokenizer(
    config: ModelConfig, loaded: _Loaded, max_length: int, where: str, *, pairs: bool
) -> TokenizerSpec:
    checkpoint, needs = loaded.checkpoint, loaded.task_object.needs
    folder, sentence = str(checkpoint.folder), checkpoint.sentence_modules is not None
    own = load_tokenizer(folder, sentence=sentence)
    above = ids_above(own, checkpoint.vocab_size)
    if above:
        raise CorpusmillError(
            f"{folder}: the tokenizer has {checkpoint.vocab_size + len(above)} tokens, the model "
            f"{checkpoint.vocab_size}; expected the tokenizer that the model was trained with"
        ).at(f"{where}.checkpoint")
    second = pairs and needs.second != "none"
    whole = config.long_text == "window" or read_settings(folder, sentence=sentence).cuts_left
    return TokenizerSpec(
        folder,
        tokenizer_digest(folder, sentence=sentence),
        loaded.source.source,
        checkpoint.folder.relative_to(loaded.source.folder).as_posix(),
        needs.prompt,
        ("text", "text_pair") if second else ("text",),
        # Without special tokens, one token more tells that a text was truncated.
        None if whole else max_length + (not read_template(own).single.size),
        needs.offsets,
        second and needs.cuts_longest,
        sentence,
    )


def _layout(config: ModelConfig, tokenizer: TokenizerSpec, max_length: int) -> Layout:
    """Return the layout of the model's sequences, as an encoder makes it."""
    settings = read_settings(tokenizer.folder, sentence=tokenizer.sentence)
    stride = config.stride if config.long_text == "window" else None
    return Layout.of(
        load_tokenizer(tokenizer.folder, sentence=tokenizer.sentence), max_length, stride, settings
    )


def _reads_pairs(tokenizer: TokenizerSpec, needs: Needs) -> bool:
    return needs.own_second or len(tokenizer.columns) > 1


def _check_room(layout: Layout, tokenizer: TokenizerSpec, loaded: _Loaded, where: str) -> None:
    """Refuse a `max_length` that leaves no room for any text."""
    needs = loaded.task_object.needs
    special_tokens = layout.template.pair if _reads_pairs(tokenizer, needs) else layout.template.single
    room = layout.max_length - special_tokens.size
    if room < 1 + needs.own_second:
        beside = " and one token of the job's own text" if needs.own_second else ""
        raise CorpusmillError(
            f"expected more than {special_tokens.size + needs.own_second}, the number of special tokens "
            f"around a text{beside}, got {layout.max_length}"
        ).at(f"{where}.max_length")
    prompt = len(layout.tokenize([tokenizer.prompt]).values) if tokenizer.prompt else 0
    if prompt >= room and layout.stride is None and not layout.cut_left:
        raise CorpusmillError(
            f"expected fewer than {room} tokens, the room in a sequence of {layout.max_length} tokens, got "
            f"{prompt}: no text would be read; shorten the prompt, or raise max_length"
        ).at(f"{where}.prompt")


def _check_token_types(layout: Layout, tokenizer: TokenizerSpec, loaded: _Loaded, where: str) -> None:
    """Refuse token types that the model does not have: it would reject every row."""
    pairs = _reads_pairs(tokenizer, loaded.task_object.needs)
    given = (layout.template.pair if pairs else layout.template.single).highest_type
    available = loaded.checkpoint.config.token_types
    if not available or given < available:  # a model without types reads none
        return
    what, trained = ("the second text of a pair", "pairs") if pairs else ("a text", "such texts")
    raise CorpusmillError(
        f"{loaded.checkpoint.folder}: expected at least {given + 1} token types, as the tokenizer gives "
        f"{what} type {given}, got type_vocab_size {available} in config.json; use a checkpoint that was "
        f"trained on {trained}, or, if the model was trained without types, set "
        "model_input_names: [input_ids, attention_mask] in tokenizer_config.json"
    ).at(f"{where}.checkpoint")
