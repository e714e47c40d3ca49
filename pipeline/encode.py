"""Tokens of a unit to result columns: packed batches through one model, order restored."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from corpusmill.models import PackedTokens, load_model
from corpusmill.pipeline.batches import token_batches
from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.checkpoints import model_folder
from corpusmill.pipeline.items import items_of
from corpusmill.pipeline.ragged import Int, Ragged
from corpusmill.pipeline.sequences import Layout
from corpusmill.pipeline.spec import ModelSpec
from corpusmill.pipeline.task import Prepared, Values
from corpusmill.pipeline.tasks import TASKS, embedding_options
from corpusmill.pipeline.vocabulary import load_tokenizer


@dataclass(frozen=True, slots=True)
class Encoded:
    """A unit's result columns of one model, in input order, and the tokens and batches they took."""

    columns: pa.Table
    tokens: int
    batches: int


class Encoder:
    """One model, loaded on one device, with the task that makes columns of its outputs."""

    def __init__(self, spec: ModelSpec) -> None:
        if spec.device == "cpu":
            torch.set_num_threads(spec.pool.cpus)
        self._spec = spec
        kind = TASKS[spec.task]
        folder = model_folder(spec)
        self._model = load_model(
            folder,
            task=kind.head,
            dtype=spec.dtype,
            device=spec.device,
            embedding=embedding_options(spec.task, spec.options),
        )
        self._task = kind(self._model.checkpoint, spec.options)
        tokenizer = load_tokenizer(str(folder / spec.tokenizer.inside))
        self._layout = Layout.of(tokenizer, spec.max_length, spec.stride)

    def prepare(self, block: UnitBlock) -> Prepared:
        """Lay out a tokenized unit's distinct inputs for this model."""
        items = items_of(block, self._spec.tokenizer.key, self._spec.tokenizer.columns)
        return Prepared(items, self._task.sequences(items, self._layout), self._layout)

    def encode(self, block: UnitBlock) -> Encoded:
        """Return the columns of all rows of a unit; a row without text, or without any token, gives nulls."""
        unit = self.prepare(block)
        values, rows = [], []
        for batch in token_batches(unit.sequences, tokens_per_batch=self._spec.tokens_per_batch):
            packed = PackedTokens.from_flat(batch.ids, batch.lengths, token_types=batch.types)
            values.append(self._task.values(self._model, packed))
            rows.append(batch.rows)
        named = pa.schema([field.with_name(self._spec.prefix + field.name) for field in self._task.schema])
        columns = (
            _of_rows(self._task.columns(_in_order(values, rows), unit), unit)
            if values
            else [pa.nulls(block.rows, field.type) for field in named]
        )
        return Encoded(pa.table(columns, schema=named), len(unit.sequences.tokens.values), len(values))


def _in_order(values: Sequence[Values], rows: Sequence[Int]) -> tuple[Ragged, ...]:
    """Put what all batches gave back in the order of the sequences."""
    numbers = np.concatenate(rows)
    counts = np.concatenate(
        [
            np.ones(len(numbered), np.int64) if given.counts is None else given.counts
            for given, numbered in zip(values, rows, strict=True)
        ]
    )
    order = np.argsort(numbers, kind="stable")
    arrays = zip(*(given.arrays for given in values), strict=True)
    return tuple(Ragged.of_lengths(np.concatenate(parts), counts).take(order) for parts in arrays)


def _of_rows(columns: Sequence[pa.Array], unit: Prepared) -> list[pa.Array]:
    """Give each row its item's result."""
    of_item = np.full(len(unit.items) + 1, -1, np.int64)  # the last place is for the rows without an item
    of_item[unit.present] = np.arange(len(unit.present))
    of_row = of_item[unit.items.of_row]
    if np.array_equal(of_row, np.arange(len(unit.present))):
        return list(columns)
    index = pa.array(of_row, mask=of_row < 0)
    return [column.take(index) for column in columns]
