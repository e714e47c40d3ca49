"""Recall of a row's own group among its nearest neighbours, exact. N rows, D numbers, Q queries of a block.

Every row is compared with every other: the time grows with the square of the rows, the memory with the
embeddings alone.
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
from corpusmill.jobs.evaluate.request import Kind, Metrics, Request

NEAREST = (1, 5, 10)
CELLS = 2**23
"""Similarities in memory at once."""
ROWS = 2**14
"""Rows turned into unit vectors at once."""
TIE = 1e-6
"""What float32 cannot tell apart. Ties count against the model: equal vectors for all texts find nothing."""

Array = np.ndarray[Any, Any]

BITS = ("binary", "ubinary")
"""Values of `output_dtype` that pack eight signs into a byte."""


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


# Embeddings of any stored type as unit vectors. N rows, D numbers a row, B bytes a row.
#
# Packed bits become signs: their cosine is `1 - 2 * hamming / D`, so that one order serves all types.


def stored(column: pa.FixedSizeListArray) -> Array:
    """Return (N, D) numbers, or (N, B) bytes, as they are stored; no row may be null."""
    flat = column.flatten()
    return np.asarray(flat.to_numpy(zero_copy_only=False)).reshape(len(column), column.type.list_size)


def unit(vectors_ND: Array, *, bits: bool) -> Array:
    """Return (N, D) float32 of length one; a vector of zeros stays one."""
    if bits:
        signs = np.unpackbits(np.ascontiguousarray(vectors_ND).view(np.uint8), axis=1)
        vectors_ND = signs.astype(np.float32) * 2 - 1
    numbers = vectors_ND.astype(np.float32)
    lengths = np.linalg.norm(numbers, axis=1, keepdims=True)
    return np.asarray(numbers / np.where(lengths == 0, 1, lengths), np.float32)


# Cosines of pairs of rows against a number that each pair has.


class Similarity:
    """Correlation of cosine and label; a vector is kept until its partner comes.

    A pair of which one row was left out is left out; `pairs` counts the others.
    """

    def __init__(self, *, bits: bool) -> None:
        self._bits = bits
        self._waiting: dict[Any, tuple[Array, float]] = {}
        self._cosines: list[Array] = []
        self._labels: list[float] = []

    def add(self, rows: pa.Table) -> None:
        """Compare the pairs that are complete."""
        vectors = stored(rows["prediction"].combine_chunks())
        pairs, labels = rows["pair"].to_pylist(), rows["label"].to_pylist()
        left, right = [], []
        for pair, vector, label in zip(pairs, vectors, labels, strict=True):
            if pair not in self._waiting:
                self._waiting[pair] = vector.copy(), label  # a view would keep the whole file
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
        """Correlate."""
        if not self._labels:
            raise EvaluateError("expected pairs with two predictions and labels, got none").at("--pairs")
        cosines = np.concatenate(self._cosines).astype(np.float64)
        return {"pairs": len(self._labels), **correlations(cosines, np.array(self._labels))}

    def _unit(self, vectors: list[Array]) -> Array:
        return unit(np.stack(vectors), bits=self._bits)


def check_pairs(output: FinishedOutput, column: str) -> None:
    """Check that each value stands in exactly two rows; null in none."""
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


# Vectors: how well they find a row's group, or agree with a similarity that people gave to pairs.


def embedding(request: Request) -> Kind:
    """Score `embedding` against groups, or with `--pairs` against numbers."""
    column = request.column("embedding")
    bits = request.model.options.get("output_dtype") in BITS
    if request.pairs is not None:
        if not is_number(request.label_type):
            raise request.refuse_labels("numbers")
        check_pairs(request.output, request.pairs)
        return Kind(column, Similarity(bits=bits), labels=as_numbers, uses=("pairs",))
    if is_text(request.label_type):
        return Kind(column, Retrieval(bits=bits), labels=as_text, uses=("pairs",))
    if not pa.types.is_integer(request.label_type):
        raise request.refuse_labels("strings or integers that name a row's group, or --pairs and numbers,")
    return Kind(column, Retrieval(bits=bits), uses=("pairs",))
