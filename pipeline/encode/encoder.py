"""From the tokens of a unit to result columns: packed batches through one model, order restored."""

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
from corpusmill.pipeline.encode.batch_size import fit_batch_size
from corpusmill.pipeline.encode.batches import TokenBatch, count_lengths, token_batches
from corpusmill.pipeline.encode.encoded import Encoded, EncodeStats
from corpusmill.pipeline.encode.halving import (
    NOT_FINITE,
    ComputedSequences,
    RefusedSequence,
    refuse_not_finite,
    run_in_halves,
)
from corpusmill.pipeline.encode.items import Items, distinct_items
from corpusmill.pipeline.encode.overlap import InOrderExecutor
from corpusmill.pipeline.encode.sequences import Layout
from corpusmill.pipeline.errors import ModelFailed
from corpusmill.pipeline.machine import compute_threads
from corpusmill.pipeline.ragged import Array, Int, Ragged
from corpusmill.pipeline.spec import ModelSpec
from corpusmill.pipeline.tasks import TASKS, embedding_options
from corpusmill.pipeline.tasks.columns import finite_rows
from corpusmill.pipeline.tasks.task import Prepared, Values
from corpusmill.pipeline.tokenize.settings import read_settings
from corpusmill.pipeline.tokenize.tokenizer import load_tokenizer

MANY_FAILURES = 16
"""Least number of texts of a unit that, if all of them fail, prove a fault of the model."""
AT_ONCE = 2
"""Batches under way on a GPU: while one is computed, the host sends the next or receives the last."""


@dataclass(frozen=True, slots=True)
class BatchResults:
    """The values that a unit's batches gave, and the reasons why some of its items failed, by item."""

    computed: list[ComputedSequences]
    refused: dict[int, str]


class Encoder:
    """One model, loaded on one device, with the task that turns its outputs into columns.

    `note` is a message for the user, such as that the GPU has less memory than the job asks for.
    """

    def __init__(self, spec: ModelSpec) -> None:
        if spec.device == "cpu":
            torch.set_num_threads(compute_threads(spec.pool.cpus))
        self._spec = spec
        kind = TASKS[spec.task]
        folder = model_folder(spec)
        self._model = load_model(
            folder,
            task=kind.head,
            dtype=spec.dtype,
            device=spec.device,
            embedding=embedding_options(spec.task, spec.options),
            route=spec.options.get("route"),
            ignore_tensors=spec.ignore_tensors,
        )
        self._task = kind(self._model.checkpoint, spec.options)
        self._layout = _layout(str(folder / spec.tokenizer.inside), spec)
        self._tokens_per_batch, self.note = self._batch_size(spec)
        self._flops_per_token = functools.cache(self._model.checkpoint.flops_per_token)
        self._executor = InOrderExecutor(1 if spec.device == "cpu" else AT_ONCE, _own_stream)

    def prepare(self, block: UnitBlock) -> Prepared:
        """Lay out a tokenized unit's distinct inputs for this model."""
        items = distinct_items(block, self._spec.tokenizer.key, self._spec.tokenizer.columns)
        return Prepared(items, self._task.sequences(items, self._layout), self._layout)

    def encode(self, block: UnitBlock) -> Encoded:
        """Return the columns of all rows of a unit; a row without text, or without any token, has nulls.

        A batch that fails is halved, down to the rows that are refused. If all texts fail, and at least
        MANY_FAILURES, the error is ModelFailed. Rows whose result is not finite are refused too.
        """
        unit = self.prepare(block)
        return self.finish(block, unit, self.compute(unit))

    def finish(self, block: UnitBlock, unit: Prepared, results: BatchResults) -> Encoded:
        """Return the columns of a unit, made on the host from the values of its batches."""
        refused = dict(results.refused)
        unit = _without_items(unit, refused)
        named = pa.schema([field.with_name(self._spec.prefix + field.name) for field in self._task.schema])
        columns = [pa.nulls(block.rows, field.type) for field in named]
        if results.computed:
            of_items = self._task.columns(_in_sequence_order(results.computed), unit)
            finite = finite_rows(of_items)
            if not finite.all():  # such as a float32 that is beyond the range of float16
                refused |= dict.fromkeys(unit.present[~finite].tolist(), NOT_FINITE)
                of_items = [column.filter(pa.array(finite)) for column in of_items]
                unit = _without_items(unit, refused)
            columns = _per_row(of_items, unit)
        table = pa.table(columns, schema=named)
        tokens = unit.sequences.tokens
        stats = EncodeStats(
            len(tokens.values),
            len(results.computed),
            _refused_rows(unit.items, refused),
            self._flops(tokens.lengths),
            count_lengths(tokens.lengths),
            rows=unit.rows_of(unit.sequences.item),
            truncated_rows=unit.truncated_rows,
        )
        return Encoded(table, stats)

    def product_rate(self) -> float:
        """Return this device's rate, in FLOP/s, in plain matrix products of the model's width and dtype."""
        return product_rate(self._model.checkpoint.width, dtype=self._spec.dtype, device=self._spec.device)

    def _flops(self, lengths: np.ndarray[Any, Any]) -> float:
        each, counts = np.unique(lengths, return_counts=True)
        return float(
            sum(
                count * length * self._flops_per_token(length)
                for length, count in zip(each.tolist(), counts.tolist(), strict=True)
            )
        )

    def _batch_size(self, spec: ModelSpec) -> tuple[int, str | None]:
        """Return the tokens per batch, on a GPU at most as many as fit, and a note for the user."""
        if spec.device == "cpu":
            return spec.tokens_per_batch, advice()
        return fit_batch_size(
            lambda packed: self._task.values(self._model, packed),
            wanted=spec.tokens_per_batch,
            max_length=spec.max_length,
            share=spec.pool.gpus or 1.0,
        )

    def compute(self, unit: Prepared) -> BatchResults:
        """Run a unit's batches; return the values of its sequences, without those of items that failed."""
        computed, refused = [], {}
        batches = token_batches(unit.sequences, tokens_per_batch=self._tokens_per_batch)
        for parts in self._executor.map(self._run_batch, batches):
            for found in parts:
                if isinstance(found, ComputedSequences):
                    computed.append(found)
                else:
                    refused[int(unit.sequences.item[found.row])] = found.reason
        if not refused:
            return BatchResults(computed, refused)
        failed = [reason for reason in refused.values() if reason != NOT_FINITE]
        if MANY_FAILURES <= len(failed) == len(unit.present):
            raise ModelFailed(f"all {len(failed)} texts of the unit failed: {failed[0]}")
        # The other windows of a refused text are left out with it.
        good = ~np.isin(unit.sequences.item, list(refused))
        return BatchResults([found.only(good) for found in computed if good[found.rows].any()], refused)

    def _run_batch(self, batch: TokenBatch) -> list[ComputedSequences | RefusedSequence]:
        return [part for found in run_in_halves(batch, self.values) for part in refuse_not_finite(found)]

    def values(self, batch: TokenBatch) -> Values:
        """Run one batch through the model."""
        packed = PackedTokens.from_flat(batch.ids, batch.lengths, token_types=batch.types)
        return self._task.values(self._model, packed)


def _layout(folder: str, spec: ModelSpec) -> Layout:
    """Return the layout of a model's sequences, from its tokenizer's folder on this node."""
    sentence = spec.tokenizer.sentence
    settings = read_settings(folder, sentence=sentence)
    tokenizer = load_tokenizer(folder, sentence=sentence)
    return Layout.of(tokenizer, spec.max_length, spec.stride, settings)


def _own_stream() -> None:
    """Give this thread a CUDA stream: its batch is copied while that of another thread is computed."""
    torch.cuda.set_stream(torch.cuda.Stream())  # type: ignore[no-untyped-call]


def _without_items(unit: Prepared, refused: Mapping[int, str]) -> Prepared:
    if not refused:
        return unit
    kept = np.flatnonzero(~np.isin(unit.sequences.item, list(refused)))
    return replace(unit, sequences=unit.sequences.take(kept))


def _refused_rows(items: Items, refused: Mapping[int, str]) -> dict[int, str]:
    """Return the rows of the refused items, with the reasons."""
    rows = np.flatnonzero(np.isin(items.of_row, list(refused))) if refused else ()
    return {int(row): refused[int(items.of_row[row])] for row in rows}


def _in_sequence_order(computed: Sequence[ComputedSequences]) -> tuple[Ragged, ...]:
    """Return the values of all batches in the order of the sequences."""
    order = np.argsort(np.concatenate([part.rows for part in computed]), kind="stable")
    arrays = list(zip(*(part.values.arrays for part in computed), strict=True))
    if all(part.values.counts is None for part in computed):
        ones = np.ones(len(order), np.int64)
        return tuple(Ragged.of_lengths(_reordered(parts, order), ones) for parts in arrays)
    counts = np.concatenate([_counts(part) for part in computed])
    return tuple(Ragged.of_lengths(np.concatenate(parts), counts).take(order) for parts in arrays)


def _reordered(parts: Sequence[Array], order: Int) -> Array:
    """Join the rows of several arrays in another order; each row is copied once."""
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


def _per_row(columns: Sequence[pa.Array], unit: Prepared) -> list[pa.Array]:
    """Return the columns with the result of its item in each row."""
    of_item = np.full(len(unit.items) + 1, -1, np.int64)  # the last entry is for rows without an item
    of_item[unit.present] = np.arange(len(unit.present))
    of_row = of_item[unit.items.of_row]
    if np.array_equal(of_row, np.arange(len(unit.present))):
        return list(columns)
    index = pa.array(of_row, mask=of_row < 0)
    return [column.take(index) for column in columns]
