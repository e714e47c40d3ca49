"""Tokens of a unit to result columns: packed batches through one model, order restored."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from corpusmill.models import PackedTokens, load_model
from corpusmill.models.cpu.native.bindings import advice
from corpusmill.models.products import product_rate
from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.checkpoints.find import model_folder
from corpusmill.pipeline.encode.batch_size import fitted
from corpusmill.pipeline.encode.batches import TokenBatch, counted, token_batches
from corpusmill.pipeline.encode.encoded import Encoded, EncodeStats
from corpusmill.pipeline.encode.halving import ComputedSequences, RefusedSequence, run_in_halves
from corpusmill.pipeline.encode.items import Items, items_of
from corpusmill.pipeline.encode.overlap import InOrderExecutor
from corpusmill.pipeline.encode.sequences import Layout
from corpusmill.pipeline.errors import ModelFailed
from corpusmill.pipeline.ragged import Array, Int, Ragged
from corpusmill.pipeline.spec import ModelSpec
from corpusmill.pipeline.tasks import TASKS, embedding_options
from corpusmill.pipeline.tasks.task import Prepared, Values
from corpusmill.pipeline.tokenize.tokenizer import load_tokenizer

MANY = 16
"""Texts of a unit that all fail: a fault that so many share, and none escapes, is not theirs."""
AT_ONCE = 2
"""Batches under way on a GPU: while one is computed, the next is packed and sent, and the last comes back."""


@dataclass(frozen=True, slots=True)
class BatchResults:
    """What a unit's batches gave, and why some of its items failed, by item."""

    done: list[ComputedSequences]
    bad: dict[int, str]


class Encoder:
    """One model, loaded on one device, with the task that makes columns of its outputs.

    `note` says what a user should know of this worker, such as that its GPU has less memory than asked for.
    """

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
        self._budget, self.note = self._batch_size(spec)
        self._cost = functools.cache(self._model.checkpoint.flops_per_token)
        self._executor = InOrderExecutor(1 if spec.device == "cpu" else AT_ONCE, _own_stream)

    def prepare(self, block: UnitBlock) -> Prepared:
        """Lay out a tokenized unit's distinct inputs for this model."""
        items = items_of(block, self._spec.tokenizer.key, self._spec.tokenizer.columns)
        return Prepared(items, self._task.sequences(items, self._layout), self._layout)

    def encode(self, block: UnitBlock) -> Encoded:
        """Return the columns of all rows of a unit; a row without text, or without any token, gives nulls.

        A batch that fails is halved, down to the rows that are refused; ModelFailed if MANY fail and no
        other succeeds.
        """
        unit = self.prepare(block)
        return self.finish(block, unit, self.compute(unit))

    def finish(self, block: UnitBlock, unit: Prepared, results: BatchResults) -> Encoded:
        """Make the columns of a unit of what its batches gave; all of it is the host's work."""
        done, bad = results.done, results.bad
        unit = _without_items(unit, bad)
        named = pa.schema([field.with_name(self._spec.prefix + field.name) for field in self._task.schema])
        columns = (
            _of_rows(self._task.columns(_in_order(done), unit), unit)
            if done
            else [pa.nulls(block.rows, field.type) for field in named]
        )
        table = pa.table(columns, schema=named)
        tokens = unit.sequences.tokens
        stats = EncodeStats(
            len(tokens.values),
            len(done),
            _rows_of(unit.items, bad),
            self._flops(tokens.lengths),
            counted(tokens.lengths),
        )
        return Encoded(table, stats)

    def product_rate(self) -> float:
        """Return this device's rate, in FLOP/s, in plain matrix products of the model's width and dtype."""
        return product_rate(self._model.checkpoint.width, dtype=self._spec.dtype, device=self._spec.device)

    def _flops(self, lengths: np.ndarray[Any, Any]) -> float:
        each, counts = np.unique(lengths, return_counts=True)
        return float(
            sum(
                count * length * self._cost(length)
                for length, count in zip(each.tolist(), counts.tolist(), strict=True)
            )
        )

    def _batch_size(self, spec: ModelSpec) -> tuple[int, str | None]:
        """Return the tokens of a batch, on a GPU at most as many as fit, and what a user should know."""
        if spec.device == "cpu":
            return spec.tokens_per_batch, advice()
        return fitted(
            lambda packed: self._task.values(self._model, packed),
            asked=spec.tokens_per_batch,
            max_length=spec.max_length,
            share=spec.pool.gpus or 1.0,
        )

    def compute(self, unit: Prepared) -> BatchResults:
        """Run a unit's batches: what its sequences gave, without those of the items that failed."""
        done, bad = [], {}
        batches = token_batches(unit.sequences, tokens_per_batch=self._budget)
        for parts in self._executor.map(self._parts, batches):
            for found in parts:
                if isinstance(found, ComputedSequences):
                    done.append(found)
                else:
                    bad[int(unit.sequences.item[found.row])] = found.reason
        if not bad:
            return BatchResults(done, bad)
        if MANY <= len(bad) == len(unit.present):
            raise ModelFailed(f"all {len(bad)} texts of the unit failed: {next(iter(bad.values()))}")
        # Other windows of a refused text go with it.
        good = ~np.isin(unit.sequences.item, list(bad))
        return BatchResults([found.only(good) for found in done if good[found.rows].any()], bad)

    def _parts(self, batch: TokenBatch) -> list[ComputedSequences | RefusedSequence]:
        return list(run_in_halves(batch, self.values))

    def values(self, batch: TokenBatch) -> Values:
        """Run one batch through the model."""
        packed = PackedTokens.from_flat(batch.ids, batch.lengths, token_types=batch.types)
        return self._task.values(self._model, packed)


def _own_stream() -> None:
    """Let this thread's batches run beside those of others: one is copied while another is computed."""
    torch.cuda.set_stream(torch.cuda.Stream())  # type: ignore[no-untyped-call]


def _without_items(unit: Prepared, bad: Mapping[int, str]) -> Prepared:
    if not bad:
        return unit
    kept = np.flatnonzero(~np.isin(unit.sequences.item, list(bad)))
    return replace(unit, sequences=unit.sequences.take(kept))


def _rows_of(items: Items, bad: Mapping[int, str]) -> dict[int, str]:
    """Return the rows that have these items."""
    rows = np.flatnonzero(np.isin(items.of_row, list(bad))) if bad else ()
    return {int(row): bad[int(items.of_row[row])] for row in rows}


def _in_order(done: Sequence[ComputedSequences]) -> tuple[Ragged, ...]:
    """Put what all batches gave back in the order of the sequences."""
    order = np.argsort(np.concatenate([part.rows for part in done]), kind="stable")
    arrays = list(zip(*(part.values.arrays for part in done), strict=True))
    if all(part.values.counts is None for part in done):
        ones = np.ones(len(order), np.int64)
        return tuple(Ragged.of_lengths(_placed(parts, order), ones) for parts in arrays)
    counts = np.concatenate([_counts(part) for part in done])
    return tuple(Ragged.of_lengths(np.concatenate(parts), counts).take(order) for parts in arrays)


def _placed(parts: Sequence[Array], order: Int) -> Array:
    """Join the rows of several arrays in another order, each copied once."""
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    joined = np.empty((len(order), *parts[0].shape[1:]), np.result_type(*parts))
    start = 0
    for part in parts:
        joined[place[start : start + len(part)]] = part
        start += len(part)
    return joined


def _counts(part: ComputedSequences) -> Int:
    found = part.values.counts
    return np.ones(len(part.rows), np.int64) if found is None else found


def _of_rows(columns: Sequence[pa.Array], unit: Prepared) -> list[pa.Array]:
    """Give each row its item's result."""
    of_item = np.full(len(unit.items) + 1, -1, np.int64)  # the last place is for the rows without an item
    of_item[unit.present] = np.arange(len(unit.present))
    of_row = of_item[unit.items.of_row]
    if np.array_equal(of_row, np.arange(len(unit.present))):
        return list(columns)
    index = pa.array(of_row, mask=of_row < 0)
    return [column.take(index) for column in columns]
