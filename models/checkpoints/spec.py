"""The records that describe what can be loaded: an architecture, and a head for a task."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import nn

from corpusmill.models.checkpoints.embedding_plan import EmbeddingPlan
from corpusmill.models.checkpoints.sentence_pooling import Splade
from corpusmill.models.checkpoints.tensor_layouts import TensorLayout


class EncoderConfig(Protocol):
    """The sizes that every architecture's config has, whatever their names."""

    @property
    def vocab_size(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def embedding_size(self) -> int:
        """Width of the word vectors, which `inputs_embeds` stand in for."""

    @property
    def layers(self) -> int: ...
    @property
    def heads(self) -> int:
        """Attention heads that a layer runs."""

    @property
    def max_positions(self) -> int: ...
    @property
    def token_types(self) -> int:
        """Number of token types; 0 where the model has none."""

    def flops_per_token(self, length: int) -> int:
        """Return floating-point operations of the encoder for one token of a sequence of this length."""


@dataclass(frozen=True)
class Summary:
    """The way from a sequence to one vector: a pooling, then a linear map (or none) and an activation."""

    pooling: str = "cls"
    linear: bool = True
    activation: str = "tanh"


@dataclass(frozen=True)
class WordHead:
    """The prediction of words: linear map to `width`, activation, norm, and one score per word.

    The output matrix is that of the word vectors, `tied_width` wide, where the checkpoint ties them; where
    `width` is larger, a matrix of its own reads the rest.
    """

    activation: str
    width: int
    tied_width: int
    eps: float


@dataclass(frozen=True)
class HeadDesign:
    """The differences of heads between families; `pooler` is None if the encoder has none."""

    pooler: Summary | None
    classifier: Summary
    choice: Summary
    words: WordHead


@dataclass(frozen=True)
class Architecture:
    """One `model_type`.

    `renames` are applied in order to our parameter names and give the checkpoint's names. `tensor_layouts`
    list, by the ending of our name, the parameters that are stored in another shape. `prefix` stands before
    the encoder's names in the checkpoints of task models. `head_tensors` are the beginnings of the names of
    the family's heads, which may stay unused. `idle_tensors` are parts of the names of tensors that some
    checkpoints store and no model uses. `output_bias` is a second name of the output matrix's bias. `lacks`
    lists the tasks that the family has no head for. `refused_dtypes` gives the reason for each refused dtype.
    """

    model_type: str
    class_prefix: str
    config: Callable[[dict[str, Any]], EncoderConfig]
    encoder: Callable[[Any], nn.Module]
    heads: Callable[[Any], HeadDesign]
    prefix: str
    renames: tuple[tuple[str, str], ...]
    head_tensors: tuple[str, ...]
    tensor_layouts: tuple[tuple[str, TensorLayout], ...] = ()
    idle_tensors: tuple[str, ...] = ()
    output_bias: str | None = None
    lacks: tuple[str, ...] = ()
    refused_dtypes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class HeadParts:
    """The parts from which a head is built; `pooler`: whether the checkpoint has one."""

    design: HeadDesign
    vocab_size: int
    width: int
    labels: int
    problem_type: str | None
    pooler: bool
    embedding: EmbeddingPlan
    splade: Splade


@dataclass(frozen=True)
class Head:
    """One task.

    `classes` end the names in config.json's "architectures" that ask for it. `job_task` is what a job does
    with such a checkpoint where it names no task. `targets` are the call options that the head takes, and
    `labels` the number of labels it must have, where that is fixed.
    """

    task: str
    classes: tuple[str, ...]
    build: Callable[[HeadParts], nn.Module]
    job_task: str
    targets: tuple[str, ...] = ()
    labels: int | None = None
