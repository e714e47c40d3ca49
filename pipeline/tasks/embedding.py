"""`embedding: fixed_size_list<float>[D]`: a vector a row, as the checkpoint pools and normalizes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from corpusmill.models import Checkpoint


class EmbeddingTask:
    """Writes float32 vectors of the checkpoint's embedding dimension."""

    def __init__(self, checkpoint: Checkpoint, options: Mapping[str, Any]) -> None:
        del options  # this task has none yet; the job's configuration refuses unknown ones
        self._dimension = checkpoint.embedding_dimension
        self.schema = pa.schema([("embedding", pa.list_(pa.float32(), self._dimension))])

    def values(self, output: Any) -> np.ndarray[Any, Any]:
        """Return (n, D) float32."""
        return np.asarray(output.embeddings.float().cpu().numpy())

    def columns(
        self, values: np.ndarray[Any, Any], present: np.ndarray[Any, np.dtype[np.bool_]]
    ) -> list[pa.Array]:
        """Return the vectors; a null row holds no values."""
        full = np.zeros((len(present), self._dimension), np.float32)
        full[present] = values
        mask = None if present.all() else pa.array(~present)
        return [
            pa.FixedSizeListArray.from_arrays(
                pa.array(full.ravel()), type=self.schema.field(0).type, mask=mask
            )
        ]
