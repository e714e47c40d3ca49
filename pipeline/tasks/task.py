"""What the encoder asks of a task: the columns it reads and writes, and how outputs become them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import pyarrow as pa

from corpusmill.models import Checkpoint, Model, PackedTokens
from corpusmill.pipeline.encode.items import Items
from corpusmill.pipeline.encode.sequences import Layout, Sequences
from corpusmill.pipeline.ragged import Array, Int, Ragged

SecondText = Literal["none", "optional", "required", "list"]
"""Whether a task reads `input.text_pair`: never, if given, always, or always and as a list of texts."""


@dataclass(frozen=True, slots=True)
class Values:
    """What a batch gives, on the host: arrays whose rows belong to the batch's sequences in order.

    `counts` (n,) are the rows of each sequence; None for one row each.
    """

    arrays: tuple[Array, ...]
    counts: Int | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A unit on its way through one model: its distinct items and the sequences laid out for them."""

    items: Items
    sequences: Sequences
    layout: Layout

    @property
    def present(self) -> Int:
        """The items that have sequences, in order; the others' results are null."""
        present: Int = np.unique(self.sequences.item)
        return present


@dataclass(frozen=True, slots=True)
class Needs:
    """What a task asks of the stages before it.

    `windows`: whether `long_text: window` is possible. `offsets`: it points into the text. `cuts_longest`: of
    a pair that is too long the longer text is cut first. `prompt` goes before each text. `passes` are the
    sequences that a text takes, `bytes_per_token` what is written of each token: both only size units.
    """

    second: SecondText = "none"
    windows: bool = True
    offsets: bool = False
    cuts_longest: bool = False
    prompt: str = ""
    passes: int = 1
    bytes_per_token: int = 0


class Task(Protocol):
    """One task for one checkpoint and the options of the job file.

    The constructor raises an OptionError of the pipeline for an option's value that cannot be.
    """

    head: ClassVar[str]
    """The model's head that it runs, a key of `corpusmill.models.heads.HEADS`."""
    options: ClassVar[tuple[str, ...]]
    """The fields of `models[]` that are its own."""
    needs: Needs
    schema: pa.Schema
    """The columns, without the model's prefix."""

    def __init__(self, checkpoint: Checkpoint, options: Mapping[str, Any]) -> None: ...

    def sequences(self, items: Items, layout: Layout) -> Sequences:
        """Lay out what goes through the model."""

    def values(self, model: Model, packed: PackedTokens) -> Values:
        """Run a batch and return what is needed of its outputs."""

    def columns(self, results: tuple[Ragged, ...], unit: Prepared) -> list[pa.Array]:
        """Build the columns of `schema`, a row for each of `unit.present`.

        `results` are the arrays of `values`, list n being what sequence n gave.
        """
