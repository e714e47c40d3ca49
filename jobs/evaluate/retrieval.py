"""Embeddings: exact recall of a row's group among its nearest neighbours, or correlation over pairs.

Recall compares every row with every other: the time grows with the square of the rows, the memory only with
the embeddings. Shape suffixes: N rows, D numbers, Q queries of a block.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpusmill.jobs.errors import EvaluateError
from corpusmill.jobs.evaluate.finished import FinishedOutput
from corpusmill.jobs.evaluate.label_scores import as_numbers, as_text, is_number, is_text
from corpusmill.jobs.evaluate.regression import correlations
from corpusmill.jobs.evaluate.request import Metrics, Request, Scoring

RECALL_RANKS = (1, 5, 10)
SIMILARITIES_AT_ONCE = 2**23
"""The most similarities in memory."""
ROWS_AT_ONCE = 2**14
"""The most rows that are converted to unit vectors together."""
TIE = 1e-6
"""The precision of float32. A tie is a miss, so that equal vectors for all texts have a recall of 0."""

Array = np.ndarray[Any, Any]

PACKED_DTYPES = ("binary", "ubinary")
"""Values of `output_dtype` that pack eight signs into a byte."""


class RetrievalScores:
    """The score `recall@k`: the share of queries with a row of their own group among the k nearest others.

    Queries are the rows whose group has two rows or more; all rows are searched.
    """

    def __init__(self, *, bits: bool) -> None:
        self._bits = bits
        self._vectors: list[Array] = []
        self._groups: list[pa.Array] = []

    def add(self, rows: pa.Table) -> None:
        """Keep the vectors as they are stored."""
        self._vectors.append(stored_vectors(rows["prediction"].combine_chunks()))
        self._groups.append(rows["label"].combine_chunks())

    def metrics(self) -> Metrics:
        """Compare every query with every row and return the recall."""
        codes = pa.chunked_array(self._groups).combine_chunks().dictionary_encode().indices.to_numpy()
        queries = np.flatnonzero(np.bincount(codes)[codes] > 1)
        if not len(queries):
            raise EvaluateError("expected groups of two rows or more, got each label once").at("--labels")
        vectors = np.concatenate(self._vectors)
        self._vectors.clear()
        ahead = np.concatenate(list(self._rows_ahead(vectors, codes, queries)))
        recall = {f"recall@{k}": float((ahead < k).mean()) for k in RECALL_RANKS}
        return {"queries": len(queries), "groups": len(np.unique(codes[queries])), **recall}

    def _rows_ahead(self, vectors: Array, codes_N: Array, queries: Array) -> Iterator[Array]:
        """Yield the number of rows of other groups that are nearer to a query than the nearest of its own."""
        size = max(1, SIMILARITIES_AT_ONCE // len(codes_N))
        for start in range(0, len(queries), size):
            rows_Q = queries[start : start + size]
            cosines_QN = self._cosines_of(vectors[rows_Q], vectors)
            cosines_QN[np.arange(len(rows_Q)), rows_Q] = -np.inf
            own_QN = codes_N[rows_Q, None] == codes_N
            best_Q = np.max(cosines_QN, axis=1, where=own_QN, initial=-np.inf)
            yield ((cosines_QN >= best_Q[:, None] - TIE) & ~own_QN).sum(1)

    def _cosines_of(self, queries_QD: Array, vectors_ND: Array) -> np.ndarray[Any, Any]:
        unit_QD = unit_vectors(queries_QD, bits=self._bits)
        parts = (vectors_ND[i : i + ROWS_AT_ONCE] for i in range(0, len(vectors_ND), ROWS_AT_ONCE))
        return np.hstack([unit_QD @ unit_vectors(part, bits=self._bits).T for part in parts])


# Embeddings of any stored type as unit vectors. N rows, D numbers per row, B bytes per row.
#
# Packed bits become signs. Their cosine is `1 - 2 * hamming / D`, so cosines order all types.


def stored_vectors(column: pa.FixedSizeListArray) -> Array:
    """Return (N, D) numbers, or (N, B) bytes, as they are stored; no row may be null."""
    flat = column.flatten()
    return np.asarray(flat.to_numpy(zero_copy_only=False)).reshape(len(column), column.type.list_size)


def unit_vectors(vectors_ND: Array, *, bits: bool) -> Array:
    """Return (N, D) float32 of length one; a vector of zeros stays as it is."""
    if bits:
        signs = np.unpackbits(np.ascontiguousarray(vectors_ND).view(np.uint8), axis=1)
        vectors_ND = signs.astype(np.float32) * 2 - 1
    numbers = vectors_ND.astype(np.float32)
    lengths = np.linalg.norm(numbers, axis=1, keepdims=True)
    return np.asarray(numbers / np.where(lengths == 0, 1, lengths), np.float32)


# Cosines of pairs of rows against a number per pair.


class SimilarityScores:
    """Correlation of a pair's cosine with its label; a vector is kept until the pair's other row is added.

    A pair with a row that has no prediction or label does not count; `pairs` counts the others.
    """

    def __init__(self, *, bits: bool) -> None:
        self._bits = bits
        self._waiting: dict[Any, tuple[Array, float]] = {}
        self._cosines: list[Array] = []
        self._labels: list[float] = []

    def add(self, rows: pa.Table) -> None:
        """Compute the cosines of the pairs that are complete."""
        vectors = stored_vectors(rows["prediction"].combine_chunks())
        pairs, labels = rows["pair"].to_pylist(), rows["label"].to_pylist()
        left, right = [], []
        for pair, vector, label in zip(pairs, vectors, labels, strict=True):
            if pair not in self._waiting:
                self._waiting[pair] = vector.copy(), label  # a view would keep the whole file in memory
                continue
            other, expected = self._waiting.pop(pair)
            if label != expected:
                raise EvaluateError(
                    f"expected one label for both rows of a pair, got {expected} and {label} for {pair!r}"
                ).at("--labels")
            left.append(other)
            right.append(vector)
            self._labels.append(label)
        if left:
            self._cosines.append((self._unit(left) * self._unit(right)).sum(1))

    def metrics(self) -> Metrics:
        """Return the correlations."""
        if not self._labels:
            raise EvaluateError("expected pairs with two predictions and labels, got none").at("--pairs")
        cosines = np.concatenate(self._cosines).astype(np.float64)
        return {"pairs": len(self._labels), **correlations(cosines, np.array(self._labels))}

    def _unit(self, vectors: list[Array]) -> Array:
        return unit_vectors(np.stack(vectors), bits=self._bits)


def check_pairs(output: FinishedOutput, column: str) -> None:
    """Refuse a column with null, or with a value that is not in exactly two rows."""
    kind = output.schema.field(column).type
    chunks = [chunk for table in output.tables([column]) for chunk in table[column].chunks]
    counted = pa.chunked_array(chunks, kind).value_counts()
    values, counts = (pc.struct_field(counted, name) for name in ("values", "counts"))
    wrong = counted.filter(pc.or_(pc.not_equal(counts, 2), values.is_null()))
    if len(wrong):
        raise EvaluateError(
            f"expected each value of {column!r} in exactly two rows, got {wrong[0]['values']} in "
            f"{wrong[0]['counts']}"
        ).at("--pairs")


def embedding(request: Request) -> Scoring:
    """Return the scoring of `embedding` against groups, or with `--pairs` against numbers."""
    column = request.column("embedding")
    bits = request.model.options.get("output_dtype") in PACKED_DTYPES
    if request.pairs is not None:
        if not is_number(request.label_type):
            raise request.refuse_labels("numbers")
        check_pairs(request.output, request.pairs)
        return Scoring(column, SimilarityScores(bits=bits), labels=as_numbers, uses=("pairs",))
    if is_text(request.label_type):
        return Scoring(column, RetrievalScores(bits=bits), labels=as_text, uses=("pairs",))
    if not pa.types.is_integer(request.label_type):
        raise request.refuse_labels("strings or integers that name a row's group, or numbers with --pairs,")
    return Scoring(column, RetrievalScores(bits=bits), uses=("pairs",))
