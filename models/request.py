"""What a caller asks of a model beyond its results for the tokens.

Shape suffixes: T tokens, N sequences, E word-vector width.
"""

from dataclasses import dataclass, fields

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Request:
    """What the encoder is to do.

    `inputs_embeds` (T, E) stands in for the word vectors. `head_mask` (layers, heads) scales what each
    attention head gives. `hidden_states` and `attentions` say what to keep.
    """

    inputs_embeds: Tensor | None = None
    head_mask: Tensor | None = None
    hidden_states: bool = False
    attentions: bool = False


@dataclass(frozen=True, eq=False)
class Targets:
    """What a head is to compare its results with, and how to group them; None where nothing is asked."""

    labels: Tensor | None = None
    start_positions: Tensor | None = None
    end_positions: Tensor | None = None
    next_sentence_label: Tensor | None = None
    num_choices: int | None = None

    @property
    def given(self) -> tuple[str, ...]:
        """Names of the options that are not None."""
        return tuple(field.name for field in fields(self) if getattr(self, field.name) is not None)
