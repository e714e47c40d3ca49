"""`choice: int32`, `scores: list<float32>`: which of a row's choices goes best with its text.

`input.text_pair` names a column of lists of texts, the choices. `scores` are probabilities over the row's
choices, in their order; `choice` is the first with the highest. A row whose list is null, is empty, or has
a null in it has null results.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from corpusmill.models import Checkpoint, Model, PackedTokens
from corpusmill.pipeline.encode.items import Items
from corpusmill.pipeline.encode.sequences import Layout, Pairs, Sequences
from corpusmill.pipeline.ragged import Ragged, ranges
from corpusmill.pipeline.tasks.columns import list_array
from corpusmill.pipeline.tasks.task import Needs, Prepared, Values


class MultipleChoiceTask:
    """Task without options: each choice is a pair with the text, whose longer side is cut until both fit."""

    head: ClassVar[str] = "multiple-choice"
    options: ClassVar[tuple[str, ...]] = ()
    needs = Needs(second="list", windows=False, cuts_longest=True, passes=4)
    schema = pa.schema([("choice", pa.int32()), ("scores", pa.list_(pa.float32()))])

    def __init__(self, checkpoint: Checkpoint, options: Mapping[str, Any]) -> None:
        del checkpoint, options  # nothing to choose

    def sequences(self, items: Items, layout: Layout) -> Sequences:
        """Lay out each choice with its text."""
        texts = items.tables["text_pair"]
        choices = texts.lists.take(items.rows["text_pair"])
        counts = choices.lengths
        item = np.repeat(np.arange(len(items)), counts)
        pairs = Pairs(
            item,
            ranges(np.zeros(len(counts), np.int64), counts),
            items.rows["text"][item],
            choices.values,
        )
        return layout.pairs_cut_longest(items.text, texts, pairs)

    def values(self, model: Model, packed: PackedTokens) -> Values:
        """Return (n,) logits: rows have different numbers of choices, so each is scored by itself."""
        return Values((model(packed, num_choices=1).logits.float()[:, 0].cpu().numpy(),))

    def columns(self, results: tuple[Ragged, ...], unit: Prepared) -> list[pa.Array]:
        """Return the best choices and all probabilities."""
        logits, item = results[0].values, unit.sequences.item
        starts = np.flatnonzero(np.diff(item, prepend=-1))
        counts = np.diff(starts, append=len(item))
        exponents = np.exp(logits - np.repeat(np.maximum.reduceat(logits, starts), counts))
        scores = exponents / np.repeat(np.add.reduceat(exponents, starts), counts)
        best = np.lexsort((np.arange(len(item)), -logits, item))[starts] - starts
        return [
            pa.array(best.astype(np.int32)),
            list_array(pa.array(scores.astype(np.float32)), counts, self.schema.field(1).type),
        ]
