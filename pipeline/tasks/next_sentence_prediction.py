"""`is_next: bool`, `score: float32`: whether `text_pair` follows `text`, and the probability of it.

`score` is the probability that it follows, whatever the verdict; `is_next` is true from one half.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import pyarrow as pa

from corpusmill.models import Checkpoint, Model, PackedTokens
from corpusmill.pipeline.encode.items import Items
from corpusmill.pipeline.encode.sequences import Layout, Sequences, row_pairs
from corpusmill.pipeline.ragged import Ragged
from corpusmill.pipeline.tasks.task import Needs, Prepared, Values

FOLLOWS = 0
"""The head's first score is for "follows", its second for "a random one"."""


class NextSentencePredictionTask:
    """Task without options: a pair whose longer text is cut until both fit."""

    head: ClassVar[str] = "next-sentence-prediction"
    options: ClassVar[tuple[str, ...]] = ()
    needs = Needs(second="required", windows=False, cuts_longest=True)
    schema = pa.schema([("is_next", pa.bool_()), ("score", pa.float32())])

    def __init__(self, checkpoint: Checkpoint, options: Mapping[str, Any]) -> None:
        del checkpoint, options  # nothing to choose

    def sequences(self, items: Items, layout: Layout) -> Sequences:
        """Lay out each pair."""
        pairs = row_pairs(items.rows["text"], items.rows["text_pair"])
        return layout.pairs_cut_longest(items.text, items.tables["text_pair"], pairs)

    def values(self, model: Model, packed: PackedTokens) -> Values:
        """Return (n,) probabilities."""
        return Values((model(packed).logits.float().softmax(-1)[:, FOLLOWS].cpu().numpy(),))

    def columns(self, results: tuple[Ragged, ...], unit: Prepared) -> list[pa.Array]:
        """Return the verdicts and probabilities."""
        del unit  # one sequence per item
        score = results[0].values
        return [pa.array(score >= 0.5), pa.array(score)]
