"""The options of a call: what the encoder and the head do beyond the results for the tokens.

Shape suffixes: T tokens, N sequences, E word-vector width.
"""

from dataclasses import dataclass, fields

from torch import Tensor


@dataclass(frozen=True, eq=False)
class EncoderRequest:
    """The options of an encoder's call.

    `inputs_embeds` (T, E) replaces the word vectors. `head_mask` (layers, heads) scales the result of each
    attention head. `hidden_states` and `attentions` are True for what to keep. `layers` is the number of
    layers to run from the first, None for all; `hidden_states` are those of the layers run.
    """

    inputs_embeds: Tensor | None = None
    head_mask: Tensor | None = None
    hidden_states: bool = False
    attentions: bool = False
    layers: int | None = None


@dataclass(frozen=True, eq=False)
class HeadTargets:
    """The labels that a head compares its results with, and which results it returns.

    `num_choices` is the number of neighbouring sequences that belong to one question. `scored_tokens` (P,)
    names the tokens of the batch that get word scores.
    """

    labels: Tensor | None = None
    start_positions: Tensor | None = None
    end_positions: Tensor | None = None
    next_sentence_label: Tensor | None = None
    num_choices: int | None = None
    scored_tokens: Tensor | None = None

    @property
    def given(self) -> tuple[str, ...]:
        """Names of the options that are not None."""
        return tuple(field.name for field in fields(self) if getattr(self, field.name) is not None)
