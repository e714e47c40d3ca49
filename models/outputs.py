"""What a model returns: frozen records with transformers' names, and no padding.

Shape suffixes: T tokens of all sequences, N sequences, D width, L labels.
"""

from dataclasses import dataclass

from torch import Tensor

Attentions = tuple[tuple[Tensor, ...], ...]


@dataclass(frozen=True, eq=False)
class Encoded:
    """What an encoder hands to a head.

    `hidden_states` has the embeddings' output and each layer's, (T, D); `attentions[layer][sequence]` is that
    sequence's (heads, length, length). Both are None unless asked for.
    """

    last_hidden_state: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: Attentions | None = None


@dataclass(frozen=True, eq=False)
class BaseOutput(Encoded):
    """The encoder alone; `pooler_output` (N, D) where the checkpoint has a pooler."""

    pooler_output: Tensor | None = None


@dataclass(frozen=True, eq=False)
class EmbeddingOutput:
    """One vector a sequence: `embeddings` (N, D) in float32, whatever the model's dtype."""

    embeddings: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: Attentions | None = None


@dataclass(frozen=True, eq=False)
class SequenceClassifierOutput:
    """One score a label for each sequence: `logits` (N, L), before any softmax or sigmoid."""

    logits: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: Attentions | None = None
