"""What a caller asks of a model beyond its results for the tokens.

Shape suffixes: T tokens, N sequences, E word-vector width.
"""

from dataclasses import dataclass, fields

from torch import Tensor


@dataclass(frozen=True, eq=False)
class EncoderRequest:
    """What the encoder is to do.

    `inputs_embeds` (T, E) stands in for the word vectors. `head_mask` (layers, heads) scales what each
    attention head gives. `hidden_states` and `attentions` say what to keep. `layers` is how many to run from
    the first, None all of them; `hidden_states` are then of these.
    """

    inputs_embeds: Tensor | None = None
    head_mask: Tensor | None = None
    hidden_states: bool = False
    attentions: bool = False
    layers: int | None = None


@dataclass(frozen=True, eq=False)
class HeadTargets:
    """What a head is to compare its results with, and which to give; None where nothing is asked.

    `num_choices` says how many neighbouring sequences are one question's, `scored_tokens` (P,) which tokens
    of the batch get word scores.
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
