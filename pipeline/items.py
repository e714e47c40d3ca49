"""A unit as one model sees it: the distinct inputs it has to compute, and which of them each row has."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa

from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.ragged import Array, Int, Ragged


@dataclass(frozen=True, slots=True)
class TokenTable:
    """A column's distinct texts as tokens, without special ones.

    `starts` and `ends` (T,) are the tokens' code points in the original text and `begins` (T,) says where
    words begin; None where no task of the job asked for them. For a column of lists of texts `ids` are the
    texts of all lists and `groups` (lists + 1,) the lists' offsets in them.
    """

    ids: Ragged
    starts: Int | None = None
    ends: Int | None = None
    begins: Array | None = None
    groups: Int | None = None

    @classmethod
    def of(cls, table: pa.Table) -> Self:
        """View a table that the tokenization made."""
        ids = table["ids"].combine_chunks()
        if pa.types.is_list(ids.type.value_type):
            groups = np.asarray(ids.offsets, np.int64)
            return cls(Ragged.of_arrow(ids.values), groups=groups)
        flat = {name: Ragged.of_arrow(table[name]).values for name in table.column_names if name != "ids"}
        return cls(Ragged.of_arrow(ids), **flat)


@dataclass(frozen=True, slots=True)
class Items:
    """M distinct inputs of N rows.

    Item i has the text `rows["text"][i]` of `tables["text"]`, and likewise its second column; `of_row` (N,)
    is each row's item, -1 where the row lacks a column that the model needs. `texts` are the distinct texts
    themselves, where a task asked for offsets.
    """

    tables: dict[str, TokenTable]
    rows: dict[str, Int]
    of_row: Int
    texts: pa.Array | None

    def __len__(self) -> int:
        return len(self.rows["text"])

    @property
    def text(self) -> TokenTable:
        """The tokens of the distinct texts."""
        return self.tables["text"]


def items_of(block: UnitBlock, key: str, columns: Sequence[str]) -> Items:
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
        texts=block.tables["text"]["text"].combine_chunks() if "text" in block.tables else None,
    )


def _numbers(column: pa.ChunkedArray) -> Int:
    filled = column.combine_chunks().fill_null(-1)
    return np.asarray(filled, np.int64)
