"""One entry of `models:` checked against its checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from corpusmill.jobs.config import ModelConfig
from corpusmill.models import Checkpoint, check_tensors, read_checkpoint
from corpusmill.pipeline.checkpoints import Found, find_checkpoint, title
from corpusmill.pipeline.errors import CorpusmillError
from corpusmill.pipeline.spec import ModelSpec, PoolSpec, TokenizerSpec
from corpusmill.pipeline.tasks import TASKS
from corpusmill.pipeline.vocabulary import load_tokenizer, model_max_length, tokenizer_digest

TASK_OPTIONS: Mapping[str, tuple[str, ...]] = {"embedding": (), "text-classification": ("top_k", "threshold")}
TOKENS_PER_BATCH = {"cpu": 2048, "cuda": 65536}
TYPICAL_LENGTH = 128
"""Tokens of a sequence, where a model's cost per token is quoted."""


@dataclass(frozen=True)
class ResolvedModel:
    """A model of the pipeline, what it costs, and the columns it will write."""

    config: ModelConfig
    spec: ModelSpec
    flops_per_token: int
    columns: tuple[str, ...]


def resolve_model(config: ModelConfig, where: str) -> ResolvedModel:
    """Check a model's checkpoint, tensors, tokenizer and options, reading no weights but their hash."""
    found = _found(config, where)
    folder = found.folder
    task = config.task or read_checkpoint(folder).default_job_task
    if task not in TASKS:
        raise CorpusmillError(f"expected one of {', '.join(TASKS)}, got {task!r}").at(f"{where}.task")
    checkpoint = read_checkpoint(folder, task)
    check_tensors(checkpoint)
    options = _options(config, task, where)
    device = _device(config, where)
    tokenizer = _tokenizer(config, checkpoint, found, where)
    spec = ModelSpec(
        title=config.name or title(config.checkpoint),
        prefix=f"{config.name}_" if config.name else "",
        checkpoint=str(folder),
        source=found.source,
        digest=found.digest,
        task=task,
        dtype=_dtype(config, device, where),
        device=device,
        tokens_per_batch=TOKENS_PER_BATCH[device]
        if config.tokens_per_batch == "auto"
        else config.tokens_per_batch,
        tokenizer=tokenizer,
        pool=PoolSpec(1, 1),
        options=options,
    )
    columns = TASKS[task](checkpoint, options).schema.names
    return ResolvedModel(
        config,
        spec,
        checkpoint.flops_per_token(TYPICAL_LENGTH),
        tuple(spec.prefix + name for name in columns),
    )


def _found(config: ModelConfig, where: str) -> Found:
    try:
        return find_checkpoint(config.checkpoint)
    except CorpusmillError as error:
        raise error.at(f"{where}.checkpoint") from None


def _options(config: ModelConfig, task: str, where: str) -> dict[str, Any]:
    """Return the task options that the job gives; one of another task is an error."""
    allowed = TASK_OPTIONS[task]
    known = {name for names in TASK_OPTIONS.values() for name in names}
    given = {name: getattr(config, name) for name in sorted(known & config.model_fields_set)}
    for name in given:
        if name not in allowed:
            others = ", ".join(other for other, names in TASK_OPTIONS.items() if name in names)
            raise CorpusmillError(f"is an option of {others}, this model does {task}; leave it out").at(
                f"{where}.{name}"
            )
    return given


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
    return "cuda" if there and config.device != "cpu" and config.pool.gpus != 0 else "cpu"


def _dtype(config: ModelConfig, device: str, where: str) -> str:
    if config.dtype == "int8":
        raise CorpusmillError("int8 is not in this version; expected auto, float32 or bfloat16").at(
            f"{where}.dtype"
        )
    if config.dtype == "float16" and device == "cpu":
        raise CorpusmillError(
            "float16 needs a CUDA device; expected auto, float32 or bfloat16 on the CPU"
        ).at(f"{where}.dtype")
    return "float32" if config.dtype == "auto" else config.dtype


def _tokenizer(config: ModelConfig, checkpoint: Checkpoint, found: Found, where: str) -> TokenizerSpec:
    folder = str(checkpoint.folder)
    own = checkpoint.max_seq_length or model_max_length(folder) or checkpoint.max_positions
    if config.max_length != "auto" and config.max_length > checkpoint.max_positions:
        raise CorpusmillError(
            f"expected at most the checkpoint's {checkpoint.max_positions} positions, got {config.max_length}"
        ).at(f"{where}.max_length")
    length = min(own, checkpoint.max_positions) if config.max_length == "auto" else config.max_length
    size = load_tokenizer(folder, length).get_vocab_size()
    if size > checkpoint.vocab_size:
        raise CorpusmillError(
            f"{folder}: the tokenizer has {size} tokens, the model {checkpoint.vocab_size}; expected the "
            "tokenizer that the model was trained with"
        ).at(f"{where}.checkpoint")
    inside = checkpoint.folder.relative_to(found.folder).as_posix()
    return TokenizerSpec(folder, length, tokenizer_digest(folder), found.source, inside)
