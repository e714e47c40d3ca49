"""What a model returns: frozen records with transformers' names, and no padding.

Shape suffixes: T tokens of all sequences, N sequences, D width, L labels, V vocabulary.
"""

from dataclasses import dataclass

from torch import Tensor

Attentions = tuple[tuple[Tensor, ...], ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class ModelOutput:
    """The fields that every output may have on request.

    `hidden_states` has the embeddings' output and each layer's, (T, D); `attentions[layer][sequence]` is that
    sequence's (heads, length, length).
    """

    hidden_states: tuple[Tensor, ...] | None = None
    attentions: Attentions | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class EncoderOutput(ModelOutput):
    """The output of an encoder, which heads read: one state per token, (T, D)."""

    last_hidden_state: Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class BaseOutput(EncoderOutput):
    """The encoder alone; `pooler_output` (N, D) where the checkpoint has a pooler."""

    pooler_output: Tensor | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class EmbeddingOutput(ModelOutput):
    """One vector per sequence: `embeddings` (N, D) in float32, whatever the model's dtype."""

    embeddings: Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class SparseEmbeddingOutput(ModelOutput):
    """One weight per sequence and word of the vocabulary: `weights` (N, V), float32, 0 for most words."""

    weights: Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class OutputWithLoss(ModelOutput):
    """An output with a `loss`: a scalar in float32, None without labels."""

    loss: Tensor | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class SequenceClassifierOutput(OutputWithLoss):
    """One score per label for each sequence: `logits` (N, L), before any softmax or sigmoid."""

    logits: Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class TokenClassifierOutput(OutputWithLoss):
    """One score per label for each token: `logits` (T, L)."""

    logits: Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class QuestionAnsweringOutput(OutputWithLoss):
    """For each token, how well an answer starts and ends there: (T,) each."""

    start_logits: Tensor
    end_logits: Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class MaskedLMOutput(OutputWithLoss):
    """One score per word of the vocabulary for each token: `logits` (T, V).

    With `scored_tokens` (P,) they have one row for each of these tokens: (P, V).
    """

    logits: Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class MultipleChoiceOutput(OutputWithLoss):
    """One row per question, one score per choice: `logits` (N / num_choices, num_choices)."""

    logits: Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class NextSentenceOutput(OutputWithLoss):
    """Whether the second part follows the first (column 0) or is a random one (column 1): `logits` (N, 2)."""

    logits: Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class PreTrainingOutput(OutputWithLoss):
    """Both of BERT's first tasks: `prediction_logits` (T, V) and `seq_relationship_logits` (N, 2).

    With `scored_tokens` (P,) `prediction_logits` have one row for each of these tokens: (P, V).
    """

    prediction_logits: Tensor
    seq_relationship_logits: Tensor
