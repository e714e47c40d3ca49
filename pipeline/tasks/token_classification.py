"""`spans: list<struct<start, end, label, score, text>>`: the entities of a text, in order.

Offsets count code points of the original text, and `text` is the text between them. Of the windows of a long
text, each token's scores are taken from the window with most context, before spans are decoded. So a span
across the edge of a window is found once and complete.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from corpusmill.models import Checkpoint, Model, PackedTokens
from corpusmill.pipeline.encode.items import Items
from corpusmill.pipeline.encode.sequences import Layout, Sequences
from corpusmill.pipeline.encode.windows import owned_tokens
from corpusmill.pipeline.ragged import Ragged, ranges
from corpusmill.pipeline.tasks.columns import list_array
from corpusmill.pipeline.tasks.spans import LabelScheme, ScoredTokens, Spans, decode_spans
from corpusmill.pipeline.tasks.task import Needs, Prepared, Values

SPAN = pa.struct(
    [
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("label", pa.string()),
        ("score", pa.float32()),
        ("text", pa.string()),
    ]
)


class TokenClassificationTask:
    """Options: `aggregation` (simple), `ignore_labels` ([O]) and `threshold`, the least score of a span."""

    head: ClassVar[str] = "token-classification"
    options: ClassVar[tuple[str, ...]] = ("aggregation", "ignore_labels", "threshold")
    needs = Needs(offsets=True)
    schema = pa.schema([("spans", pa.list_(SPAN))])

    def __init__(self, checkpoint: Checkpoint, options: Mapping[str, Any]) -> None:
        self._aggregation = options.get("aggregation") or "simple"
        ignored = options.get("ignore_labels")
        self._labels = LabelScheme.of(checkpoint.labels, ("O",) if ignored is None else tuple(ignored))
        self._threshold: float = options.get("threshold") or 0.0

    def sequences(self, items: Items, layout: Layout) -> Sequences:
        """Lay out each text."""
        return layout.singles(items.text.ids, items.rows["text"])

    def values(self, model: Model, packed: PackedTokens) -> Values:
        """Return (T, L) probabilities."""
        return Values((model(packed).logits.float().softmax(-1).cpu().numpy(),), packed.lengths.numpy())

    def columns(self, results: tuple[Ragged, ...], unit: Prepared) -> list[pa.Array]:
        """Return the spans."""
        owned, first, counts = owned_tokens(unit.sequences)
        text, rows = unit.items.text, unit.items.rows["text"][unit.present]
        where = ranges(text.ids.offsets[rows] + first, counts)
        tokens = ScoredTokens(
            results[0].values[owned],
            text.places.starts[where],
            text.places.ends[where],
            text.places.begins[where],
            np.concatenate(([0], np.cumsum(counts))),
        )
        spans = decode_spans(tokens, self._labels, self._aggregation)
        return [self._column(spans, unit.items.texts_of(rows))]

    def _column(self, spans: Spans, texts: list[str]) -> pa.Array:
        kept = spans.scores >= self._threshold
        document = np.repeat(np.arange(len(texts)), np.diff(spans.offsets))[kept]
        starts, ends = spans.starts[kept], spans.ends[kept]
        found = [
            texts[d][start:end]
            for d, start, end in zip(document.tolist(), starts.tolist(), ends.tolist(), strict=True)
        ]
        fields = [
            pa.array(starts.astype(np.int32)),
            pa.array(ends.astype(np.int32)),
            pa.array(spans.names, pa.string()).take(pa.array(spans.labels[kept])),
            pa.array(spans.scores[kept]),
            pa.array(found, pa.string()),
        ]
        flat = pa.StructArray.from_arrays(fields, fields=list(SPAN))
        return list_array(flat, np.bincount(document, minlength=len(texts)), self.schema.field(0).type)
