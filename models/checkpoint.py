"""What a checkpoint's JSON files say, without its weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from corpusmill.models.architectures import ARCHITECTURES
from corpusmill.models.config_fields import Fields, located, read_object
from corpusmill.models.errors import CheckpointError, ConfigError, OptionError
from corpusmill.models.heads import HEADS
from corpusmill.models.sentence_modules import SentenceModules, read_sentence_modules
from corpusmill.models.spec import Architecture, EncoderConfig, HeadParts

PROBLEM_TYPES = ("single_label_classification", "multi_label_classification", "regression")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint and the task it is to be used for.

    `path` is the folder that was asked for; `folder` the one with config.json, weights and tokenizer, which
    sentence-transformers may nest. `default_job_task` is what a job does where it names no task: the
    checkpoint's own, `embedding` for a plain encoder, None for a head this version does not know. `labels`
    are in order of their ids. `tied`: words are predicted with the word vectors. `parameters` leaves an
    optional pooler out. `max_seq_length` is the limit that sentence-transformers' files set, or None.
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
    embedding_dimension: int
    parameters: int

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
        """Floating-point operations of the encoder for one token of a sequence of this length."""
        return self.config.flops_per_token(length)


def read_checkpoint(path: str | Path, task: str | None = None) -> Checkpoint:
    """Reads and checks everything but the weights; `task=None` takes what the checkpoint was made for."""
    root = Path(path)
    if not root.is_dir():
        raise CheckpointError(f"{root}: expected a folder with config.json and weights, but there is none")
    checkpoint = _describe(root, read_sentence_modules(root), task)
    parameters = skeleton(checkpoint, pooler=False).parameters()
    return replace(checkpoint, parameters=sum(parameter.numel() for parameter in parameters))


def _describe(root: Path, sentence: SentenceModules | None, task: str | None) -> Checkpoint:
    folder = root / sentence.transformer if sentence else root
    raw = read_object(folder / "config.json")
    with located(folder / "config.json"):
        architecture, labels = _architecture(raw), _labels(raw)
        config, classes = architecture.config(raw), _classes(raw)
        Fields(raw).only("problem_type", *PROBLEM_TYPES)
        Fields(raw).only("quantization_config")
        tied = Fields(raw).get("tie_word_embeddings", True)
    own = "embedding" if sentence else _task_of(classes)
    chosen = _known_task(own, classes) if task is None else _known_task(task, ())
    with located(folder / "config.json"):
        _check_head(chosen, architecture, labels)
    with located(root):
        dimension = sentence.dimension(config.width) if sentence else config.width
    return Checkpoint(
        path=root,
        folder=folder,
        model_type=architecture.model_type,
        architectures=classes,
        task=chosen,
        default_job_task=None if own is None else HEADS[own].job_task,
        config=config,
        raw_config=raw,
        labels=labels,
        problem_type=raw.get("problem_type"),
        tied=tied,
        sentence_modules=sentence,
        embedding_dimension=dimension,
        parameters=0,
    )


def skeleton(checkpoint: Checkpoint, *, pooler: bool) -> nn.ModuleDict:
    """The encoder and head with shapes but no storage (torch's meta device)."""
    architecture = ARCHITECTURES[checkpoint.model_type]
    parts = HeadParts(
        design=architecture.heads(checkpoint.config),
        vocab_size=checkpoint.vocab_size,
        width=checkpoint.width,
        labels=len(checkpoint.labels),
        problem_type=checkpoint.problem_type,
        pooler=pooler,
        sentence=checkpoint.sentence_modules,
    )
    with torch.device("meta"):
        encoder = architecture.encoder(checkpoint.config)
        return nn.ModuleDict({"encoder": encoder, "head": HEADS[checkpoint.task].build(parts)})


def _architecture(raw: dict[str, Any]) -> Architecture:
    name = raw.get("model_type")
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise ConfigError(f"model_type: expected one of {', '.join(ARCHITECTURES)}; got {name!r}")
    return ARCHITECTURES[name]


def _classes(raw: dict[str, Any]) -> tuple[str, ...]:
    classes = raw.get("architectures") or []
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise ConfigError(f"architectures: expected a list of class names, got {classes!r}")
    return tuple(classes)


def _task_of(classes: tuple[str, ...]) -> str | None:
    """The task of the first class in the config; a config that names none is an encoder."""
    if not classes:
        return "base"
    endings = ((ending, task) for task, head in HEADS.items() for ending in head.classes)
    return next((task for ending, task in endings if classes[0].endswith(ending)), None)


def _known_task(task: str | None, classes: tuple[str, ...]) -> str:
    known = ", ".join(HEADS)
    if task is None:
        raise OptionError(
            f"architectures: {', '.join(classes)} has a head that this version does not know; "
            f"name the task to use the checkpoint for: one of {known}"
        )
    if task not in HEADS:
        raise OptionError(f"task: expected one of {known}; got {task!r}")
    return task


def _check_head(task: str, architecture: Architecture, labels: tuple[str, ...]) -> None:
    if task in architecture.lacks:
        known = ", ".join(name for name in HEADS if name not in architecture.lacks)
        raise OptionError(f"task: expected one of {known} for {architecture.model_type}; got {task!r}")
    wanted = HEADS[task].labels
    if wanted is not None and len(labels) != wanted:
        raise ConfigError(f"num_labels: expected {wanted} for {task}, got {len(labels)}")


def _labels(raw: dict[str, Any]) -> tuple[str, ...]:
    """Label names by id, as transformers would complete them: LABEL_0, LABEL_1, ... where none are given."""
    named = raw.get("id2label")
    if not named:
        return tuple(f"LABEL_{index}" for index in range(Fields(raw).get("num_labels", 2)))
    try:
        by_id = {int(index): str(name) for index, name in named.items()}
    except (AttributeError, ValueError):
        raise ConfigError(f"id2label: expected an object from number to name, got {named!r}") from None
    if sorted(by_id) != list(range(len(by_id))):
        raise ConfigError(f"id2label: expected the ids 0 to {len(by_id) - 1}, got {sorted(by_id)}")
    return tuple(by_id[index] for index in range(len(by_id)))
