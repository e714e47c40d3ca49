"""The distinct values of a text column, so that equal texts of a unit are computed once."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpusmill.pipeline.ragged import Int, ranges

Bools = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True)
class DistinctTexts:
    """The distinct texts of a column, and the number of each row's text: `index`, int32, null without a text.

    For a column of lists of texts, `index` numbers the lists, `values` has the texts of all lists, and
    `groups` (int32) has the offsets of the lists in `values`.
    """

    index: pa.Array
    values: list[str]
    groups: pa.Array | None = None

    def grouped(self, of_values: pa.Array) -> pa.Array:
        """Return values of the texts, as lists if the column has lists of texts."""
        return of_values if self.groups is None else pa.ListArray.from_arrays(self.groups, of_values)


def distinct_texts(column: pa.ChunkedArray, *, deduplicate: bool) -> DistinctTexts:
    """Return a column's distinct texts in order of appearance; without `deduplicate` those of all rows."""
    array = column.combine_chunks()
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        return _distinct_lists(array, deduplicate=deduplicate)
    if deduplicate:
        encoded = array.dictionary_encode()
        return DistinctTexts(encoded.indices, encoded.dictionary.to_pylist())
    return DistinctTexts(_numbered(array.is_valid()), array.drop_null().to_pylist())


def texts_of_marked_pairs(
    first: DistinctTexts, second: DistinctTexts, one: Bools, other: Bools
) -> dict[str, Int]:
    """Return, per column, the texts of the rows whose two texts are marked in `one` and in `other`."""
    rows = np.asarray(pc.and_(first.index.is_valid(), second.index.is_valid()))
    lefts = np.asarray(first.index.fill_null(0))[rows]
    rights = np.asarray(second.index.fill_null(0))[rows]
    if second.groups is not None:
        groups = np.asarray(second.groups, np.int64)
        counts = np.diff(groups)[rights]
        lefts, rights = np.repeat(lefts, counts), ranges(groups[:-1][rights], counts)
    marked = one[lefts] & other[rights]
    return {"text": np.unique(lefts[marked]), "text_pair": np.unique(rights[marked])}


def _distinct_lists(array: pa.Array, *, deduplicate: bool) -> DistinctTexts:
    """Return the distinct lists; a list with a null counts as null, as no choice can be made from it."""
    rows = [None if row is None or None in row else tuple(row) for row in array.to_pylist()]
    present = [row for row in rows if row is not None]
    if deduplicate:
        numbers = {row: number for number, row in enumerate(dict.fromkeys(present))}
        index = pa.array([None if row is None else numbers[row] for row in rows], pa.int32())
        present = list(numbers)
    else:
        index = _numbered(pa.array([row is not None for row in rows], pa.bool_()))
    groups = np.concatenate(([0], np.cumsum([len(row) for row in present]))).astype(np.int32)
    return DistinctTexts(index, [text for row in present for text in row], pa.array(groups))


def _numbered(present: pa.Array) -> pa.Array:
    """Number the rows that are present: 0, 1, 2, …; null for the others."""
    numbers = np.cumsum(np.asarray(present)) - 1
    return pc.if_else(present, pa.array(numbers.astype(np.int32)), pa.scalar(None, pa.int32()))
