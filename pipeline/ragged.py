"""Lists of different lengths in one flat array, as in Arrow."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa

Array = np.ndarray[Any, Any]
Int = np.ndarray[Any, np.dtype[np.integer[Any]]]


@dataclass(frozen=True, slots=True)
class Ragged:
    """N lists of T values in all; list i is `values[offsets[i]:offsets[i + 1]]`, `offsets` (N + 1,) int64."""

    values: Array
    offsets: Int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Int:
        """The number of values of each list (N,)."""
        lengths: Int = np.diff(self.offsets)
        return lengths

    @classmethod
    def of_lengths(cls, values: Array, lengths: Int) -> Self:
        """Return a flat array cut into lists of these lengths."""
        return cls(values, np.concatenate(([0], np.cumsum(lengths))).astype(np.int64))

    @classmethod
    def of_arrow(cls, lists: pa.Array | pa.ChunkedArray) -> Self:
        """Return a view of an Arrow list column without nulls."""
        array = lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists
        offsets = np.asarray(array.offsets, np.int64)
        return cls(np.asarray(array.values)[offsets[0] : offsets[-1]], offsets - offsets[0])

    def take(self, lists: Int) -> "Ragged":
        """Return some of the lists, in the order given."""
        lengths = self.lengths[lists]
        return Ragged.of_lengths(self.values[ranges(self.offsets[:-1][lists], lengths)], lengths)


def ranges(starts: Int, lengths: Int) -> Int:
    """Return the numbers start, start + 1, … of each range, one range after the other."""
    ends = np.cumsum(lengths)
    positions: Int = np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - lengths), lengths)
    return positions
