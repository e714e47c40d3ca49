"""`embedding: fixed_size_list<float>[D]`: a vector a row, as the checkpoint pools and normalizes."""

from collections.abc import Mapping
from typing import Any, ClassVar

import pyarrow as pa

from corpusmill.models import Checkpoint, Model, PackedTokens
from corpusmill.pipeline.items import Items
from corpusmill.pipeline.merging import combine
from corpusmill.pipeline.ragged import Ragged
from corpusmill.pipeline.sequences import Layout, Sequences
from corpusmill.pipeline.task import Needs, Prepared, Values


class EmbeddingTask:
    """Writes float32 vectors of the checkpoint's embedding dimension."""

    head: ClassVar[str] = "embedding"
    options: ClassVar[tuple[str, ...]] = ("combine",)
    needs = Needs()

    def __init__(self, checkpoint: Checkpoint, options: Mapping[str, Any]) -> None:
        self._combine = options.get("combine", "mean")
        self._dimension = checkpoint.embedding_dimension
        self.schema = pa.schema([("embedding", pa.list_(pa.float32(), self._dimension))])

    def sequences(self, items: Items, layout: Layout) -> Sequences:
        """Lay out each text."""
        return layout.singles(items.text.ids, items.rows["text"])

    def values(self, model: Model, packed: PackedTokens) -> Values:
        """Return (n, D) float32."""
        return Values((model(packed).embeddings.float().cpu().numpy(),))

    def columns(self, results: tuple[Ragged, ...], unit: Prepared) -> list[pa.Array]:
        """Return the vectors."""
        vectors = combine(results[0].values, unit.sequences, self._combine)
        return [
            pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), type=self.schema.field(0).type)
        ]
