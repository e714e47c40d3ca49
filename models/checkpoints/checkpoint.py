"""The record of a checkpoint, read without its weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from corpusmill.models.architectures import ARCHITECTURES
from corpusmill.models.checkpoints.embedding_plan import EmbeddingPlan
from corpusmill.models.checkpoints.score_activation import ScoreActivation
from corpusmill.models.checkpoints.sentence_modules import Dense, SentenceModules
from corpusmill.models.checkpoints.sentence_pooling import Splade
from corpusmill.models.checkpoints.spec import EncoderConfig, HeadParts
from corpusmill.models.heads import HEADS


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint and the task it is to be used for.

    `path` is the folder that was asked for; `folder` the one with config.json, weights and tokenizer, which
    sentence-transformers may nest. `default_job_task` is what a job does where it names no task: the
    checkpoint's own, `embedding` for a plain encoder, None for a head this version does not know. `labels`
    are in order of their ids. `tied`: words are predicted with the word vectors. `embedding_plan` is how
    `embedding` would make vectors, the caller's options included. `parameters` leaves a pooler out that the
    task has no need of. `max_seq_length` is the limit that sentence-transformers' files set, or None.
    `score_activation` is what a cross-encoder states for its scores. `notes` are messages for the user about
    choices that the folder leaves open.
    """

    path: Path
    folder: Path
    model_type: str
    architectures: tuple[str, ...]
    task: str
    default_job_task: str | None
    config: EncoderConfig
    raw_config: dict[str, Any] = field(repr=False)
    labels: tuple[str, ...]
    problem_type: str | None
    tied: bool
    sentence_modules: SentenceModules | None
    embedding_plan: EmbeddingPlan
    parameters: int
    score_activation: ScoreActivation | None = None
    notes: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        return self.config.width

    @property
    def max_positions(self) -> int:
        return self.config.max_positions

    @property
    def max_seq_length(self) -> int | None:
        return None if self.sentence_modules is None else self.sentence_modules.max_seq_length

    @property
    def splade(self) -> Splade:
        """The weights' definition for `sparse-embedding`: of a sparse encoder's files, else SPLADE's own."""
        own = None if self.sentence_modules is None else self.sentence_modules.splade
        return Splade() if own is None else own

    @property
    def embedding_dimension(self) -> int:
        return self.embedding_plan.dimension

    @property
    def embedding_normalized(self) -> bool:
        """Whether the vectors have unit length."""
        return self.embedding_plan.normalized

    @property
    def layers_run(self) -> int:
        """The number of layers that the task runs: all, unless a vector is read from a lower one."""
        return self.embedding_plan.layer if self.task == "embedding" else self.config.layers

    @property
    def uses_token_types(self) -> bool:
        return self.config.token_types > 0

    @property
    def vocab_size(self) -> int:
        return self.config.vocab_size

    @property
    def refused_dtypes(self) -> Mapping[str, str]:
        """Dtypes that this architecture must not run in, each with the reason."""
        return ARCHITECTURES[self.model_type].refused_dtypes

    def flops_per_token(self, length: int) -> int:
        """Return floating-point operations of the layers run, for one token of a sequence of this length."""
        config: EncoderConfig = replace(self.config, layers=self.layers_run)  # type: ignore[type-var]
        return config.flops_per_token(length)


def skeleton(checkpoint: Checkpoint, *, pooler: bool) -> nn.ModuleDict:
    """Return the encoder and head with shapes but no storage (torch's meta device)."""
    architecture = ARCHITECTURES[checkpoint.model_type]
    plan = checkpoint.embedding_plan
    first = plan.steps[0] if plan.scores and plan.steps and not plan.pooling else None
    parts = HeadParts(
        design=architecture.heads(checkpoint.config),
        vocab_size=checkpoint.vocab_size,
        width=checkpoint.width,
        labels=first.in_features if isinstance(first, Dense) else len(checkpoint.labels),
        problem_type=checkpoint.problem_type,
        pooler=pooler,
        embedding=plan,
        splade=checkpoint.splade,
    )
    with torch.device("meta"), _Unfilled():
        encoder = architecture.encoder(checkpoint.config)
        return nn.ModuleDict({"encoder": encoder, "head": HEADS[checkpoint.task].build(parts)})


class _Unfilled(TorchFunctionMode):
    """A mode that skips the initial values of layers.

    There is nothing to fill on the meta device, and torch brings its compiler to do so: 75 MB.
    """

    def __torch_function__(
        self, func: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__module__", None) == nn.init.__name__:
            return kwargs["tensor"] if kwargs and "tensor" in kwargs else args[0]
        return func(*args, **(kwargs or {}))
