"""`sparse: list<struct<token_id: int32, weight: float32>>`: a text's words and their weights (SPLADE).

Weights above zero only, in the order of token ids. A long text has the greatest weight of each word over its
windows, which equals the pooling over the whole text (`combine` max; mean and first are options).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from corpusmill.models import Checkpoint, Model, PackedTokens
from corpusmill.pipeline.encode.items import Items
from corpusmill.pipeline.encode.prompts import prompt_of
from corpusmill.pipeline.encode.sequences import Layout, Sequences
from corpusmill.pipeline.ragged import Array, Int, Ragged
from corpusmill.pipeline.tasks.columns import list_array
from corpusmill.pipeline.tasks.task import Needs, Prepared, Values

WEIGHT = pa.struct([("token_id", pa.int32()), ("weight", pa.float32())])


class SparseEmbeddingTask:
    """Options: `top_k` (the heaviest words only; the checkpoint's `max_active_dims`), `prompt`, `route` of a
    Router, `combine`.
    """

    head: ClassVar[str] = "sparse-embedding"
    options: ClassVar[tuple[str, ...]] = ("top_k", "prompt", "route", "combine")
    schema = pa.schema([("sparse", pa.list_(WEIGHT))])

    def __init__(self, checkpoint: Checkpoint, options: Mapping[str, Any]) -> None:
        self._vocabulary = checkpoint.vocab_size
        own = checkpoint.sentence_modules
        default = own.max_active_dims if own is not None and own.splade is not None else None
        self._top_k: int | None = options.get("top_k", default)
        self._combine = options.get("combine") or "max"
        self.needs = Needs(prompt=prompt_of(checkpoint, options.get("prompt")))

    def sequences(self, items: Items, layout: Layout) -> Sequences:
        """Lay out each text."""
        return layout.singles(items.text.ids, items.rows["text"])

    def values(self, model: Model, packed: PackedTokens) -> Values:
        """Return the ids and weights of each sequence's words, those above zero."""
        weights = model(packed).weights
        rows, ids = weights.nonzero(as_tuple=True)
        counts = (weights != 0).sum(-1)  # as `nonzero` counts NaN
        return Values((ids.cpu().numpy(), weights[rows, ids].cpu().numpy()), counts.cpu().numpy())

    def columns(self, results: tuple[Ragged, ...], unit: Prepared) -> list[pa.Array]:
        """Return the words of each text."""
        group, ids, weights = self._merged(results, unit.sequences)
        groups = len(unit.sequences.groups) - 1
        if self._top_k is not None:
            order = np.lexsort((ids, -weights, group))
            counts = np.bincount(group, minlength=groups)
            rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
            kept = np.sort(order[rank < self._top_k])
            group, ids, weights = group[kept], ids[kept], weights[kept]
        words = pa.StructArray.from_arrays(
            [pa.array(ids.astype(np.int32)), pa.array(weights.astype(np.float32))], fields=list(WEIGHT)
        )
        return [list_array(words, np.bincount(group, minlength=groups), self.schema.field(0).type)]

    def _merged(self, results: tuple[Ragged, ...], sequences: Sequences) -> tuple[Int, Int, Array]:
        """Return (group, id, weight) of every word, by group and id, windows combined."""
        first = sequences.groups
        group_of = np.repeat(np.arange(len(first) - 1), np.diff(first))
        lengths = np.maximum(sequences.stop - sequences.start, 1).astype(np.float64)
        of = np.repeat(np.arange(len(sequences)), results[0].lengths)
        ids, weights = results[0].values, results[1].values.astype(np.float64)
        if self._combine == "first":
            kept = np.isin(of, first[:-1])
            of, ids, weights = of[kept], ids[kept], weights[kept]
        if self._combine == "mean":
            weights = weights * (lengths / np.add.reduceat(lengths, first[:-1])[group_of])[of]
        key = group_of[of] * self._vocabulary + ids
        order = np.argsort(key, kind="stable")
        distinct, starts = np.unique(key[order], return_index=True)
        reduce = np.add if self._combine == "mean" else np.maximum
        merged = reduce.reduceat(weights[order], starts) if len(starts) else weights
        return distinct // self._vocabulary, distinct % self._vocabulary, merged
