"""The distinct inputs of a unit that one model has to compute, and the input of each row."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa

from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.ragged import Array, Int, Ragged


@dataclass(frozen=True, slots=True)
class Places:
    """The places of T tokens in their texts, in code points; `begins` marks the first token of each word."""

    starts: Int
    ends: Int
    begins: Array


@dataclass(frozen=True, slots=True)
class TokenTable:
    """A column's distinct texts as tokens, without special ones.

    `ids` may have only the first tokens of a text; `lengths` then has its full length if the task needs it.
    For a column of lists of texts, `ids` has the texts of all lists, and `lists` the numbers of each list's
    texts.
    """

    ids: Ragged
    lengths: Int
    _places: Places | None = None
    _lists: Ragged | None = None

    @property
    def places(self) -> Places:
        """The tokens' places, for tasks whose `needs` ask for offsets."""
        if self._places is None:
            raise ValueError("the tokenization was not asked for offsets")
        return self._places

    @property
    def lists(self) -> Ragged:
        """The texts of each list, for tasks whose second column holds lists."""
        if self._lists is None:
            raise ValueError("the column holds single texts")
        return self._lists

    @classmethod
    def of(cls, table: pa.Table) -> Self:
        """Return a view of a table that the tokenization made."""
        ids, lists, places = table["ids"].combine_chunks(), None, None
        if pa.types.is_list(ids.type.value_type):
            lists = Ragged(np.arange(len(ids.values)), np.asarray(ids.offsets, np.int64))
            ids = ids.values
        if "starts" in table.column_names:
            flat = (Ragged.of_arrow(table[name]).values for name in ("starts", "ends", "begins"))
            places = Places(*flat)
        texts = Ragged.of_arrow(ids)
        lengths = texts.lengths
        if "lengths" in table.column_names:
            given = table["lengths"].combine_chunks()
            lengths = np.asarray(given if lists is None else given.values, np.int64)
        return cls(texts, lengths, places, lists)


@dataclass(frozen=True, slots=True)
class Items:
    """M distinct inputs of N rows.

    Item i has the text number `rows["text"][i]` of `tables["text"]`, and likewise for its second column.
    `of_row` (N,) is the item of each row, -1 if the row lacks a column that the model needs.
    """

    tables: dict[str, TokenTable]
    rows: dict[str, Int]
    of_row: Int
    _texts: pa.Array | None

    def __len__(self) -> int:
        return len(self.rows["text"])

    @property
    def text(self) -> TokenTable:
        """The tokens of the distinct texts."""
        return self.tables["text"]

    def texts_of(self, rows: Int) -> list[str]:
        """Return the strings of some distinct texts, for tasks whose `needs` ask for offsets."""
        if self._texts is None:
            raise ValueError("the tokenization was not asked for offsets")
        texts: list[str] = self._texts.take(pa.array(rows)).to_pylist()
        return texts


def distinct_items(block: UnitBlock, key: str, columns: Sequence[str]) -> Items:
    """Return the distinct inputs of a model that reads these columns, in order of the distinct values."""
    index = np.stack([_numbers(block.inputs[name]) for name in columns])
    present: Array = np.all(index >= 0, axis=0)
    distinct, inverse = np.unique(index[:, present], axis=1, return_inverse=True)
    of_row = np.full(len(present), -1, np.int64)
    of_row[present] = inverse.ravel()
    return Items(
        tables={name: TokenTable.of(block.tables[f"{key}.{name}"]) for name in columns},
        rows=dict(zip(columns, distinct, strict=True)),
        of_row=of_row,
        _texts=block.tables["text"]["text"].combine_chunks() if "text" in block.tables else None,
    )


def _numbers(column: pa.ChunkedArray) -> Int:
    filled = column.combine_chunks().fill_null(-1)
    return np.asarray(filled, np.int64)
