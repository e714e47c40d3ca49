"""A unit as one model sees it: the distinct inputs it has to compute, and which of them each row has."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa

from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.ragged import Array, Int, Ragged


@dataclass(frozen=True, slots=True)
class Places:
    """Where T tokens stand in their texts: `starts` and `ends` in code points, `begins` where words begin."""

    starts: Int
    ends: Int
    begins: Array


@dataclass(frozen=True, slots=True)
class TokenTable:
    """A column's distinct texts as tokens, without special ones.

    `lengths` are the texts' own numbers of tokens, where those decide something and not all are in `ids`.
    For a column of lists of texts `ids` are the texts of all lists and `lists` the numbers of each list's
    texts among them.
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
        """View a table that the tokenization made."""
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

    Item i has the text `rows["text"][i]` of `tables["text"]`, and likewise its second column; `of_row` (N,)
    is each row's item, -1 where the row lacks a column that the model needs.
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
        """Return some of the distinct texts themselves, for tasks whose `needs` ask for offsets."""
        if self._texts is None:
            raise ValueError("the tokenization was not asked for offsets")
        texts: list[str] = self._texts.take(pa.array(rows)).to_pylist()
        return texts


def distinct_items(block: UnitBlock, key: str, columns: Sequence[str]) -> Items:
    """Gather what a model that reads these columns has to compute, in order of the distinct values."""
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
