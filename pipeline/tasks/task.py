"""The interface of a task: the columns that it reads and writes, and the way from outputs to columns."""

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
"""Whether a task reads `input.text_pair`: never, if it is given, always, or always as a list of texts."""


@dataclass(frozen=True, slots=True)
class Values:
    """The outputs of a batch on the host: arrays whose rows belong to the batch's sequences, in order.

    `counts` (n,) is the number of rows of each sequence; None means one row each. `logits`: the arrays are
    logits, of which minus infinity is a valid one. Its probability is 0.
    """

    arrays: tuple[Array, ...]
    counts: Int | None = None
    logits: bool = False

    @property
    def finite(self) -> Array | None:
        """Whether each sequence's values are finite (n,); None if all are.

        Of logits, the largest of each array is finite.
        """
        bad = [self._not_finite(array) for array in self.arrays if not _all_finite(array)]
        return None if not any(each.any() for each in bad) else ~np.logical_or.reduce(bad)

    def _not_finite(self, array: Array) -> Array:
        """Return which sequences have values of an array that are not finite (n,)."""
        finite: Array = np.isfinite(array.reshape(len(array), -1))
        if not self.logits:
            return self._of_sequences(np.any(~finite, axis=-1))
        wrong: Array = ~finite & ~np.isneginf(array.reshape(len(array), -1))
        unusable = ~self._of_sequences(np.any(finite, axis=-1))
        return self._of_sequences(np.any(wrong, axis=-1)) | unusable

    def _of_sequences(self, of_rows: Array) -> Array:
        """Return which sequences have a marked row (n,)."""
        if self.counts is None:
            return of_rows
        marked = np.repeat(np.arange(len(self.counts)), self.counts)[of_rows]
        return np.bincount(marked, minlength=len(self.counts)) > 0


def _all_finite(array: Array) -> bool:
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


@dataclass(frozen=True, slots=True)
class Prepared:
    """A unit prepared for one model: its distinct items and the sequences laid out for them."""

    items: Items
    sequences: Sequences
    layout: Layout

    @property
    def present(self) -> Int:
        """The items that have sequences, in order; the results of other items are null."""
        present: Int = np.unique(self.sequences.item)
        return present

    def rows_of(self, items: Int) -> int:
        """Return the number of rows with one of these items."""
        marked = np.zeros(len(self.items) + 1, bool)  # the last entry is for rows without an item
        marked[items] = True
        return int(marked[self.items.of_row].sum())

    @property
    def truncated_rows(self) -> int:
        """The number of rows of which some tokens are in no sequence."""
        return self.rows_of(self.sequences.item[self.sequences.cut])


@dataclass(frozen=True, slots=True)
class Needs:
    """The needs of a task that the stages before it have to meet.

    `own_second`: each text is read beside texts of the job, such as labels. `windows`: `long_text: window` is
    possible. `offsets`: the task points into the text. `cuts_longest`: of a
    pair that is too long, the longer text is cut first. `prompt` precedes each text. `passes` is the number
    of sequences per text, `bytes_per_token` the number of bytes written per token: both only size units.
    """

    second: SecondText = "none"
    own_second: bool = False
    windows: bool = True
    offsets: bool = False
    cuts_longest: bool = False
    prompt: str = ""
    passes: int = 1
    bytes_per_token: int = 0


class Task(Protocol):
    """One task for one checkpoint and the options of the job file.

    The constructor raises an OptionError of the pipeline for an impossible value of an option.
    """

    head: ClassVar[str]
    """The model's head, a key of `corpusmill.models.heads.HEADS`."""
    options: ClassVar[tuple[str, ...]]
    """The fields of `models[]` that belong to the task."""
    needs: Needs
    schema: pa.Schema
    """The columns, without the model's prefix."""

    def __init__(self, checkpoint: Checkpoint, options: Mapping[str, Any]) -> None: ...

    def sequences(self, items: Items, layout: Layout) -> Sequences:
        """Lay out the sequences for the model."""

    def values(self, model: Model, packed: PackedTokens) -> Values:
        """Run a batch and return the outputs that the columns need."""

    def columns(self, results: tuple[Ragged, ...], unit: Prepared) -> list[pa.Array]:
        """Build the columns of `schema`, with a row for each of `unit.present`.

        `results` are the arrays of `values`; list n has the rows of sequence n.
        """
