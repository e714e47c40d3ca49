"""Compact encoders without padding: checkpoints in Hugging Face layout, run on packed batches.

    model = load_model("path/to/checkpoint")
    output = model(PackedTokens.from_sequences([[101, 7592, 102], [101, 2088, 999, 102]]))

This package knows neither Ray nor Arrow; it needs torch, numpy and safetensors only.
A new architecture is one file and one line in `architectures/`, a new task one file and one line in `heads/`.
"""

from corpusmill.models.checkpoints.checkpoint import Checkpoint
from corpusmill.models.checkpoints.embedding_plan import EmbeddingOptions
from corpusmill.models.checkpoints.reading import read_checkpoint
from corpusmill.models.checkpoints.tensors import TensorPlan, check_tensors
from corpusmill.models.errors import (
    CheckpointError,
    ConfigError,
    InputError,
    ModelError,
    OptionError,
    TensorError,
)
from corpusmill.models.loading import load_model
from corpusmill.models.model import Model
from corpusmill.models.outputs import (
    BaseOutput,
    EmbeddingOutput,
    MaskedLMOutput,
    MultipleChoiceOutput,
    NextSentenceOutput,
    PreTrainingOutput,
    QuestionAnsweringOutput,
    SequenceClassifierOutput,
    SparseEmbeddingOutput,
    TokenClassifierOutput,
)
from corpusmill.models.packed import PackedTokens
from corpusmill.models.precision import DtypeChoice, choose_dtype

__all__ = [
    "BaseOutput",
    "Checkpoint",
    "CheckpointError",
    "ConfigError",
    "DtypeChoice",
    "EmbeddingOptions",
    "EmbeddingOutput",
    "InputError",
    "MaskedLMOutput",
    "Model",
    "ModelError",
    "MultipleChoiceOutput",
    "NextSentenceOutput",
    "OptionError",
    "PackedTokens",
    "PreTrainingOutput",
    "QuestionAnsweringOutput",
    "SequenceClassifierOutput",
    "SparseEmbeddingOutput",
    "TensorError",
    "TensorPlan",
    "TokenClassifierOutput",
    "check_tensors",
    "choose_dtype",
    "load_model",
    "read_checkpoint",
]
