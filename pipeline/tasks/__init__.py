"""What a model's outputs become: one file a task, each a table row of the public contract.

TASKS is the whole registry: a new task is one file here and one line below.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from corpusmill.models import Checkpoint
from corpusmill.pipeline.tasks.embedding import EmbeddingTask
from corpusmill.pipeline.tasks.text_classification import TextClassificationTask


class Task(Protocol):
    """One task for one checkpoint: which columns it writes, and how a batch's outputs become values."""

    schema: pa.Schema

    def values(self, output: Any) -> np.ndarray[Any, Any]:
        """Return one row of values per sequence of a batch's model output, on the host."""

    def columns(
        self, values: np.ndarray[Any, Any], present: np.ndarray[Any, np.dtype[np.bool_]]
    ) -> list[pa.Array]:
        """Build the columns of `schema` for all rows of a unit.

        `values` (M, …) belong to the M rows marked in `present` (N,), in order; the other rows are null.
        """


TASKS: dict[str, Callable[[Checkpoint, Mapping[str, Any]], Task]] = {
    "embedding": EmbeddingTask,
    "text-classification": TextClassificationTask,
}
