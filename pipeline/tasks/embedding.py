"""`embedding: fixed_size_list<T>[D]`: a vector per row, pooled and normalized as the checkpoint says.

Vectors of a long text's windows are combined by their length-weighted mean (or `combine` max, first), and
normalized again if the vectors are normalized. For 8 bits the calibration is in the column's metadata.
"""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from corpusmill.models import Checkpoint, Model, PackedTokens
from corpusmill.pipeline.encode.items import Items
from corpusmill.pipeline.encode.prompts import prompt_of
from corpusmill.pipeline.encode.sequences import Layout, Sequences
from corpusmill.pipeline.encode.windows import combine
from corpusmill.pipeline.ragged import Array, Ragged
from corpusmill.pipeline.tasks.quantization import Calibration, quantized
from corpusmill.pipeline.tasks.task import Needs, Prepared, Values

TYPES = {
    "float32": pa.float32(),
    "float16": pa.float16(),
    "int8": pa.int8(),
    "uint8": pa.uint8(),
    "binary": pa.int8(),
    "ubinary": pa.uint8(),
}
METADATA_KEY = "corpusmill.quantization"


class EmbeddingTask:
    """Options: `pooling`, `normalize`, `dimensions` and `layer` (None: the checkpoint's own); `prompt` before
    each text; `route` of a Router; `output_dtype` (float32) with `calibration`; `combine` of windows (mean).
    """

    head: ClassVar[str] = "embedding"
    options: ClassVar[tuple[str, ...]] = (
        "pooling",
        "normalize",
        "dimensions",
        "layer",
        "prompt",
        "route",
        "output_dtype",
        "calibration",
        "combine",
    )

    def __init__(self, checkpoint: Checkpoint, options: Mapping[str, Any]) -> None:
        self._combine = options.get("combine") or "mean"
        self._normalized = checkpoint.embedding_normalized
        self._dtype: str = options.get("output_dtype") or "float32"
        dimension = checkpoint.embedding_dimension
        self._calibration = (
            Calibration.of(options.get("calibration"), dimension=dimension, normalized=self._normalized)
            if self._dtype in ("int8", "uint8")
            else None
        )
        self.needs = Needs(prompt=prompt_of(checkpoint, options.get("prompt")))
        self.schema = pa.schema([self._field(dimension)])

    def sequences(self, items: Items, layout: Layout) -> Sequences:
        """Lay out each text."""
        return layout.singles(items.text.ids, items.rows["text"])

    def values(self, model: Model, packed: PackedTokens) -> Values:
        """Return (n, D) float32."""
        return Values((model(packed).embeddings.float().cpu().numpy(),))

    def columns(self, results: tuple[Ragged, ...], unit: Prepared) -> list[pa.Array]:
        """Return the vectors."""
        vectors = combine(results[0].values, unit.sequences, self._combine)
        if self._normalized and len(vectors) < len(unit.sequences):
            vectors = _unit_length(vectors)
        codes = quantized(vectors, self._dtype, self._calibration)
        kind = self.schema.field(0).type
        return [pa.FixedSizeListArray.from_arrays(pa.array(codes.ravel()), type=kind)]

    def _field(self, dimension: int) -> pa.Field:
        packed = self._dtype in ("binary", "ubinary")
        size = -(-dimension // 8) if packed else dimension
        record = {"output_dtype": self._dtype, "dimension": dimension}
        if self._calibration is not None:
            record |= self._calibration.record
        metadata = {METADATA_KEY: json.dumps(record)} if packed or self._calibration else None
        return pa.field("embedding", pa.list_(TYPES[self._dtype], size), metadata=metadata)


def _unit_length(vectors: Array) -> Array:
    scaled: Array = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return scaled
