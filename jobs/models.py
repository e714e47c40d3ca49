"""One entry of `models:` checked against its checkpoint."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from corpusmill.jobs.config import ModelConfig
from corpusmill.jobs.hints import explain
from corpusmill.jobs.measured import measured_once
from corpusmill.jobs.problems import ConfigError
from corpusmill.models import Checkpoint, DtypeChoice, check_tensors, choose_dtype, read_checkpoint
from corpusmill.models import OptionError as ModelOptionError
from corpusmill.models.quantized import has_int8_products
from corpusmill.pipeline.checkpoints import Found, find_checkpoint, title
from corpusmill.pipeline.errors import CorpusmillError, OptionError
from corpusmill.pipeline.spec import ModelSpec, PoolSpec, TokenizerSpec
from corpusmill.pipeline.task import Needs, Task
from corpusmill.pipeline.tasks import TASKS, embedding_options
from corpusmill.pipeline.template import read_template
from corpusmill.pipeline.vocabulary import load_tokenizer, model_max_length, tokenizer_digest

TOKENS_PER_BATCH = {"cpu": 2048, "cuda": 65536}
TYPICAL_LENGTH = 128
"""Tokens of a sequence, where a model's cost per token is quoted."""


@dataclass(frozen=True)
class ResolvedModel:
    """A model of the pipeline, what it costs and needs, and the columns it will write."""

    config: ModelConfig
    spec: ModelSpec
    flops_per_token: int
    needs: Needs
    columns: tuple[str, ...]
    dtype_reason: str


def resolve_model(
    config: ModelConfig, where: str, *, pairs: bool, recorded: str | None = None
) -> ResolvedModel:
    """Check a model's checkpoint, tensors, tokenizer and options, reading no weights but their hash.

    `pairs` says whether the job reads a second text column. `recorded` is the dtype that `auto` meant when
    the output was begun: it means the same until the end, on whichever machine.
    """
    source = _found(config, where)
    folder = source.folder
    task = config.task or read_checkpoint(folder).default_job_task
    if task not in TASKS:
        raise CorpusmillError(f"expected one of {', '.join(TASKS)}, got {task!r}").at(f"{where}.task")
    options = _options(config, task, where)
    checkpoint = _checkpoint(folder, task, options, where)
    check_tensors(checkpoint)
    made = _task(task, checkpoint, options, where)
    if config.long_text == "window" and not made.needs.windows:
        raise CorpusmillError(f"expected truncate: {task} reads a text as a whole, got window").at(
            f"{where}.long_text"
        )
    max_length = _max_length(config, checkpoint, where)
    tokenizer = _tokenizer(config, checkpoint, source, made.needs, where, pairs=pairs)
    _check_room(tokenizer, max_length, where)
    device = _device(config, where)
    dtype = _dtype(config, checkpoint, device, recorded, where)
    spec = ModelSpec(
        title=config.name or title(config.checkpoint),
        prefix=f"{config.name}_" if config.name else "",
        checkpoint=str(folder),
        source=source.source,
        digest=source.digest,
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
        options=options,
    )
    return ResolvedModel(
        config,
        spec,
        checkpoint.flops_per_token(TYPICAL_LENGTH) * made.needs.passes,
        made.needs,
        tuple(spec.prefix + name for name in made.schema.names),
        dtype.reason,
    )


def model_spec(checkpoint: str, *, pairs: bool = False, **options: Any) -> ModelSpec:
    """Return a model for a program of one's own, with the options that a job file's `models` entry has.

    `pairs` says that the program reads a second text column. A mistake is a ConfigError.
    """
    try:
        config = ModelConfig.model_validate({"checkpoint": checkpoint, **options})
    except ValidationError as error:
        raise ConfigError(explain(error, ModelConfig), "model") from None
    return resolve_model(config, "model", pairs=pairs).spec


def _found(config: ModelConfig, where: str) -> Found:
    try:
        return find_checkpoint(config.checkpoint)
    except CorpusmillError as error:
        raise error.at(f"{where}.checkpoint") from None


def _options(config: ModelConfig, task: str, where: str) -> dict[str, Any]:
    """Return the task options that the job gives; one of another task is an error."""
    allowed = TASKS[task].options
    known = {name for kind in TASKS.values() for name in kind.options}
    given = {name: getattr(config, name) for name in sorted(known & config.model_fields_set)}
    for name in given:
        if name not in allowed:
            others = ", ".join(other for other, kind in TASKS.items() if name in kind.options)
            raise CorpusmillError(f"is an option of {others}, this model does {task}; leave it out").at(
                f"{where}.{name}"
            )
    return given


def _checkpoint(folder: Path, task: str, options: dict[str, Any], where: str) -> Checkpoint:
    """Read a checkpoint for a task; what is wrong with an option is said of the option."""
    try:
        return read_checkpoint(folder, TASKS[task].head, embedding=embedding_options(task, options))
    except ModelOptionError as error:
        name, _, message = str(error).partition(": ")
        if name not in options:
            raise
        raise CorpusmillError(message).at(f"{where}.{name}") from None


def _task(task: str, checkpoint: Checkpoint, options: dict[str, Any], where: str) -> Task:
    try:
        return TASKS[task](checkpoint, options)
    except OptionError as error:
        raise error.at(f"{where}.{error.field}" if error.field else where) from None


def _device(config: ModelConfig, where: str) -> str:
    there = torch.cuda.is_available()
    if config.device == "cuda" and config.pool.gpus == 0:
        raise CorpusmillError(
            "expected a share of a GPU for device: cuda, got 0; use auto, or device: cpu"
        ).at(f"{where}.pool.gpus")
    if config.device == "cuda" and not there:
        raise CorpusmillError("expected a CUDA device, found none; use device: cpu or auto").at(
            f"{where}.device"
        )
    if config.device == "auto":
        return "cuda" if there and config.pool.gpus != 0 else "cpu"
    return config.device


def _dtype(
    config: ModelConfig, checkpoint: Checkpoint, device: str, recorded: str | None, where: str
) -> DtypeChoice:
    if config.dtype == "int8" and (device != "cpu" or not has_int8_products()):
        raise CorpusmillError(
            "int8 needs a CPU with VNNI instructions; expected auto, float32 or bfloat16"
        ).at(f"{where}.dtype")
    if config.dtype == "float16" and device == "cpu":
        raise CorpusmillError(
            "float16 needs a CUDA device; expected auto, float32 or bfloat16 on the CPU"
        ).at(f"{where}.dtype")
    if config.dtype != "auto":
        return DtypeChoice(config.dtype, f"{config.dtype}: the job says so")
    if recorded is not None and (config.allow_int8 or recorded != "int8"):
        return DtypeChoice(recorded, f"{recorded}: chosen when this output was begun")
    return choose_dtype(checkpoint, device, allow_int8=config.allow_int8, measured=measured_once)


def _max_length(config: ModelConfig, checkpoint: Checkpoint, where: str) -> int:
    """Return the longest sequence: the job's, or the checkpoint's own, at most its positions."""
    if config.max_length == "auto":
        own = checkpoint.max_seq_length or model_max_length(str(checkpoint.folder))
        return min(own or checkpoint.max_positions, checkpoint.max_positions)
    if config.max_length > checkpoint.max_positions:
        raise CorpusmillError(
            f"expected at most the checkpoint's {checkpoint.max_positions} positions, got {config.max_length}"
        ).at(f"{where}.max_length")
    return config.max_length


def _tokenizer(
    config: ModelConfig, checkpoint: Checkpoint, found: Found, needs: Needs, where: str, *, pairs: bool
) -> TokenizerSpec:
    folder = str(checkpoint.folder)
    size = load_tokenizer(folder).get_vocab_size()
    if size > checkpoint.vocab_size:
        raise CorpusmillError(
            f"{folder}: the tokenizer has {size} tokens, the model {checkpoint.vocab_size}; expected the "
            "tokenizer that the model was trained with"
        ).at(f"{where}.checkpoint")
    second = pairs and needs.second != "none"
    return TokenizerSpec(
        folder,
        tokenizer_digest(folder),
        found.source,
        checkpoint.folder.relative_to(found.folder).as_posix(),
        needs.prompt,
        ("text", "text_pair") if second else ("text",),
        None if config.long_text == "window" else _max_length(config, checkpoint, where),
        needs.offsets,
        second and needs.cuts_longest,
    )


def _check_room(tokenizer: TokenizerSpec, max_length: int, where: str) -> None:
    template = read_template(load_tokenizer(tokenizer.folder))
    frame = template.single if tokenizer.columns == ("text",) else template.pair
    if max_length <= frame.size:
        raise CorpusmillError(
            f"expected more than {frame.size}, which the special tokens around a text take, got {max_length}"
        ).at(f"{where}.max_length")
