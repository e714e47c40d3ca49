"""The two records that describe what can be loaded: an architecture, and a head for a task."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from corpusmill.models.outputs import Encoded
from corpusmill.models.packed import PackedTokens
from corpusmill.models.sentence_modules import SentenceModules


class EncoderConfig(Protocol):
    """What every architecture's config can say, whatever its own names are."""

    @property
    def vocab_size(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def max_positions(self) -> int: ...
    @property
    def token_types(self) -> int:
        """Number of token types; 0 where the model has none."""

    def flops_per_token(self, length: int) -> int:
        """Floating-point operations of the encoder for one token of a sequence of this length."""


class Encoder(Protocol):
    """The forward of an architecture: packed tokens to one (T, D) state a token."""

    def __call__(
        self, packed: PackedTokens, position_ids: Tensor, *, hidden_states: bool, attentions: bool
    ) -> Encoded: ...


@dataclass(frozen=True)
class Architecture:
    """One `model_type`.

    `renames` are replaced one after the other in our parameter names to get the checkpoint's. `prefix` is
    what task models put before the encoder's names. `head_tensors` begin the names of the family's heads,
    which may be left unused. `class_activation` is what the sequence classifier applies between its two
    linear maps.
    """

    model_type: str
    class_prefix: str
    config: Callable[[dict[str, Any]], EncoderConfig]
    encoder: Callable[[Any], nn.Module]
    prefix: str
    renames: tuple[tuple[str, str], ...]
    head_tensors: tuple[str, ...]
    has_pooler: bool
    class_activation: str


@dataclass(frozen=True)
class HeadParts:
    """What a head may need to know to be built."""

    architecture: Architecture
    width: int
    labels: int
    pooler: bool
    sentence: SentenceModules | None


@dataclass(frozen=True)
class Head:
    """One task: `classes` end the names in config.json's "architectures" that ask for it."""

    task: str
    classes: tuple[str, ...]
    build: Callable[[HeadParts], nn.Module]
