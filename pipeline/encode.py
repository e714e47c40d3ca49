"""Token ids of a unit to result columns: packed batches through one model, order restored."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from corpusmill.models import PackedTokens, load_model
from corpusmill.pipeline.batches import token_batches, with_tokens
from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.checkpoints import model_folder
from corpusmill.pipeline.spec import ModelSpec
from corpusmill.pipeline.tasks import TASKS


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
        self._model = load_model(model_folder(spec), task=spec.task, dtype=spec.dtype, device=spec.device)
        self._task = TASKS[spec.task](self._model.checkpoint, spec.options)

    def encode(self, block: UnitBlock) -> Encoded:
        """Return the columns of all rows of a unit; a row without text, or without any token, gives nulls."""
        key = self._spec.tokenizer.key
        ids = block.inputs[f"{key}.ids"].combine_chunks()
        types = (
            block.inputs[f"{key}.types"].combine_chunks()
            if f"{key}.types" in block.inputs.column_names
            else None
        )
        parts, rows = [], []
        tokens = 0
        for batch in token_batches(ids, types, tokens_per_batch=self._spec.tokens_per_batch):
            packed = PackedTokens.from_flat(batch.ids, batch.lengths, token_types=batch.types)
            parts.append(self._task.values(self._model(packed)))
            rows.append(batch.rows)
            tokens += len(batch.ids)
        present = with_tokens(ids)
        columns = self._task.columns(_in_order(parts, rows), present) if parts else self._empty(len(present))
        named = pa.schema([field.with_name(self._spec.prefix + field.name) for field in self._task.schema])
        return Encoded(pa.table(columns, schema=named), tokens, len(parts))

    def _empty(self, rows: int) -> list[pa.Array]:
        return [pa.nulls(rows, field.type) for field in self._task.schema]


def _in_order(parts: list[np.ndarray[Any, Any]], rows: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Put the rows of all batches back in the unit's order."""
    return np.concatenate(parts)[np.argsort(np.concatenate(rows), kind="stable")]
