"""Cosines of pairs of rows against a number that each pair has."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpusmill.jobs.evaluate.correlation import correlations
from corpusmill.jobs.evaluate.finished import FinishedOutput
from corpusmill.jobs.evaluate.problems import EvaluateError
from corpusmill.jobs.evaluate.request import Metrics
from corpusmill.jobs.evaluate.vectors import Array, stored, unit


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
