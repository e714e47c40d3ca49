"""Recall of a row's own group among its nearest neighbours, exact. N rows, D numbers, Q queries of a block.

Every row is compared with every other: the time grows with the square of the rows, the memory with the
embeddings alone.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from corpusmill.jobs.evaluate.problems import EvaluateError
from corpusmill.jobs.evaluate.request import Metrics
from corpusmill.jobs.evaluate.vectors import Array, stored, unit

NEAREST = (1, 5, 10)
CELLS = 2**23
"""Similarities in memory at once."""
ROWS = 2**14
"""Rows turned into unit vectors at once."""
TIE = 1e-6
"""What float32 cannot tell apart. Ties count against the model: equal vectors for all texts find nothing."""


class Retrieval:
    """`recall@k`: the share of rows with one of their own group among the k nearest, themselves excluded.

    Asked are the rows whose group has two or more (`queries`), searched are all.
    """

    def __init__(self, *, bits: bool) -> None:
        self._bits = bits
        self._vectors: list[Array] = []
        self._groups: list[pa.Array] = []

    def add(self, rows: pa.Table) -> None:
        """Keep the vectors as they are stored."""
        self._vectors.append(stored(rows["prediction"].combine_chunks()))
        self._groups.append(rows["label"].combine_chunks())

    def metrics(self) -> Metrics:
        """Compare all with all."""
        codes = pa.chunked_array(self._groups).combine_chunks().dictionary_encode().indices.to_numpy()
        queries = np.flatnonzero(np.bincount(codes)[codes] > 1)
        if not len(queries):
            raise EvaluateError("expected groups of two rows or more, got each label once").at("--labels")
        vectors = np.concatenate(self._vectors)
        self._vectors.clear()
        nearer = np.concatenate(list(self._nearer(vectors, codes, queries)))
        recall = {f"recall@{k}": float((nearer < k).mean()) for k in NEAREST}
        return {"queries": len(queries), "groups": len(np.unique(codes[queries])), **recall}

    def _nearer(self, vectors: Array, codes_N: Array, queries: Array) -> Iterator[Array]:
        """Yield how many rows of other groups are nearer to each query than the nearest of its own."""
        size = max(1, CELLS // len(codes_N))
        for start in range(0, len(queries), size):
            rows_Q = queries[start : start + size]
            similar_QN = self._similar(vectors[rows_Q], vectors)
            similar_QN[np.arange(len(rows_Q)), rows_Q] = -np.inf
            own_QN = codes_N[rows_Q, None] == codes_N
            best_Q = np.max(similar_QN, axis=1, where=own_QN, initial=-np.inf)
            yield ((similar_QN >= best_Q[:, None] - TIE) & ~own_QN).sum(1)

    def _similar(self, queries_QD: Array, vectors_ND: Array) -> np.ndarray[Any, Any]:
        asked = unit(queries_QD, bits=self._bits)
        parts = range(0, len(vectors_ND), ROWS)
        return np.hstack([asked @ unit(vectors_ND[part : part + ROWS], bits=self._bits).T for part in parts])
