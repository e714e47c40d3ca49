"""Reading a checkpoint's JSON files into its record."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from corpusmill.models.architectures import ARCHITECTURES
from corpusmill.models.checkpoints.checkpoint import Checkpoint, skeleton
from corpusmill.models.checkpoints.config_fields import Fields, located, read_object
from corpusmill.models.checkpoints.embedding_plan import (
    PLAIN,
    EmbeddingOptions,
    EmbeddingPlan,
    plan_embedding,
    plan_scores,
)
from corpusmill.models.checkpoints.foreign_files import foreign_file, foreign_folder
from corpusmill.models.checkpoints.key_check import check_keys
from corpusmill.models.checkpoints.score_activation import read_score_activation
from corpusmill.models.checkpoints.sentence_modules import SentenceModules, read_sentence_modules
from corpusmill.models.checkpoints.spec import Architecture, EncoderConfig
from corpusmill.models.errors import CheckpointError, ConfigError, OptionError
from corpusmill.models.heads import HEADS

MOST_LABELS = 1 << 20


def read_checkpoint(
    path: str | Path,
    task: str | None = None,
    *,
    embedding: EmbeddingOptions | None = None,
    route: str | None = None,
) -> Checkpoint:
    """Read and check everything but the weights; without `task`, use the checkpoint's own.

    `embedding` changes how vectors are made; for any other task an OptionError refuses it. `route` is the
    route of a Router; None means that of documents.
    """
    root = Path(path)
    if not root.is_dir():
        found = foreign_file(root) if root.is_file() else None
        raise CheckpointError(
            f"{root}: expected a folder with config.json and weights, "
            f"{f'got {found}' if found else 'found none'}"
        )
    options = EmbeddingOptions() if embedding is None else embedding
    checkpoint = _describe(root, read_sentence_modules(root, route), task, options)
    parameters = skeleton(checkpoint, pooler=False).parameters()
    return replace(checkpoint, parameters=sum(parameter.numel() for parameter in parameters))


def _describe(
    root: Path, sentence: SentenceModules | None, task: str | None, options: EmbeddingOptions
) -> Checkpoint:
    folder = root / sentence.transformer if sentence else root
    raw = _read_config(folder)
    with located(folder / "config.json"):
        architecture, labels = _architecture(raw), _labels(raw)
        classes = _classes(raw)
    check_keys(root, folder, architecture.model_type)
    with located(folder / "config.json"):
        config = architecture.config(raw)
        tied = Fields(raw).get("tie_word_embeddings", True)
    own = sentence.task if sentence else _task_of(classes)
    chosen = _known_task(own, classes) if task is None else _known_task(task, ())
    with located(folder / "config.json"):
        _check_head(chosen, architecture, labels)
    _check_options(options, chosen)
    pooler = architecture.heads(config).pooler is not None
    with located(root):
        plan = _plan(chosen, options, sentence, config=config, labels=len(labels), pooler=pooler)
        if sentence is not None and sentence.classifier and sentence.steps:
            labels = _unnamed(sentence.scores(config.width, len(labels)))
    return Checkpoint(
        path=root,
        folder=folder,
        model_type=architecture.model_type,
        architectures=classes,
        task=chosen,
        default_job_task=None if own is None else _job_task(own, labels, raw.get("problem_type")),
        config=config,
        raw_config=raw,
        labels=labels,
        problem_type=raw.get("problem_type"),
        tied=tied,
        sentence_modules=sentence,
        embedding_plan=plan,
        parameters=0,
        score_activation=read_score_activation(root, raw, modular=sentence is not None),
        notes=tuple(_notes(raw, sentence, labels)),
    )


def _plan(
    task: str,
    options: EmbeddingOptions,
    sentence: SentenceModules | None,
    *,
    config: EncoderConfig,
    labels: int,
    pooler: bool,
) -> EmbeddingPlan:
    """Return the plan of vectors or, for a classifier of modules, that of its scores."""
    if sentence is not None and sentence.classifier and task == sentence.task:
        return plan_scores(sentence, width=config.width, layers=config.layers, labels=labels)
    own = sentence if sentence is not None and sentence.task == "embedding" else PLAIN
    return plan_embedding(options, own, width=config.width, layers=config.layers, pooler=pooler)


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if folder.is_dir() and not path.is_file() and any(folder.iterdir()):
        raise ConfigError(
            f"{path}: expected a JSON file, found none. The folder has {foreign_folder(folder)}"
        )
    return read_object(path)


def _notes(raw: dict[str, Any], sentence: SentenceModules | None, labels: tuple[str, ...]) -> Iterator[str]:
    if sentence is not None and len(sentence.routes) > 1:
        others = ", ".join(name for name in sentence.routes if name != sentence.route)
        yield f"route {sentence.route} of its Router; it also has {others} (option route)"
    if raw.get("id2label") and len(raw["id2label"]) != len(labels):
        yield (
            f"config.json: id2label has {len(raw['id2label'])} names, but num_labels is {len(labels)}; "
            "labels are LABEL_0, LABEL_1, ..., as in transformers 5; complete id2label to name them"
        )


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
    """Return the task of the config's first class; a config without classes is a plain encoder."""
    if not classes:
        return "base"
    endings = ((ending, task) for task, head in HEADS.items() for ending in head.classes)
    return next((task for ending, task in endings if classes[0].endswith(ending)), None)


def _job_task(own: str, labels: tuple[str, ...], problem_type: str | None) -> str:
    """Return the default task of a job; a classifier of one output without a name of its own reranks."""
    if own == "text-classification" and labels == ("LABEL_0",) and problem_type is None:
        return "reranking"
    return HEADS[own].job_task


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


def _check_options(options: EmbeddingOptions, task: str) -> None:
    given = [name for name, value in vars(options).items() if value is not None]
    if given and task != "embedding":
        raise OptionError(f"{given[0]}: expected the task 'embedding' for this option, got {task!r}")


def _labels(raw: dict[str, Any]) -> tuple[str, ...]:
    """Return label names by id; LABEL_0, LABEL_1, ... where the config has none, or another number of names.

    The number is then that of `num_labels`, as in transformers 5.
    """
    named = raw.get("id2label")
    number = Fields(raw).get_size("num_labels", 2, at_most=MOST_LABELS)
    counted = raw.get("num_labels") is not None and isinstance(named, dict)
    if not named or (counted and number != len(named)):
        return _unnamed(number)
    try:
        by_id = {int(index): str(name) for index, name in named.items()}
    except (AttributeError, ValueError):
        raise ConfigError(f"id2label: expected an object from number to name, got {named!r}") from None
    if sorted(by_id) != list(range(len(by_id))):
        raise ConfigError(f"id2label: expected the ids 0 to {len(by_id) - 1}, got {sorted(by_id)}")
    return tuple(by_id[index] for index in range(len(by_id)))


def _unnamed(number: int) -> tuple[str, ...]:
    return tuple(f"LABEL_{index}" for index in range(number))
