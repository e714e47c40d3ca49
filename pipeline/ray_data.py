"""The stages as classes for `map_batches`, for programs on Ray Data.

    from corpusmill.jobs import model_spec
    from corpusmill.pipeline.ray_data import Encode, Tokenize

    model = model_spec("hf://sentence-transformers/all-MiniLM-L6-v2", task="embedding")
    rows = (
        ray.data.read_parquet("documents")
        .map_batches(Tokenize(model, text="body"), batch_format="pyarrow")
        .map_batches(Encode, fn_constructor_args=(model,), batch_format="pyarrow", concurrency=2)
    )

Batches may be cut and joined between the two stages, as the tokens are in a column of the rows. Exactly-once
output, rejects and a queue per model belong to the engine and are not available here.
"""

import numpy as np
import pyarrow as pa

from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.encode.encoder import Encoder
from corpusmill.pipeline.errors import InputError
from corpusmill.pipeline.input.units import Unit
from corpusmill.pipeline.spec import ModelSpec, Tokenization
from corpusmill.pipeline.tokenize.tokens import tokenize

PREFIX = "tokens:"
"""Prefix of the names of the columns with tokens."""
_TEXT = "value"


class Tokenize:
    """A stage that adds a text column's tokens to an Arrow table; equal texts of a batch are tokenized once.

    A null text has null tokens. `text_pair` is the second column, for tasks that read two.
    """

    def __init__(self, model: ModelSpec, *, text: str = "text", text_pair: str | None = None) -> None:
        self._tokenizer = model.tokenizer
        named = {"text": text, "text_pair": text_pair}
        self._columns = {name: named[name] or name for name in model.tokenizer.columns}

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Return the batch with its tokens."""
        inputs = {name: _texts(batch, column) for name, column in self._columns.items()}
        block = UnitBlock(Unit("batch", "a batch", 0, 0), pa.table({}), pa.table(inputs))
        done = tokenize(block, Tokenization((self._tokenizer,), deduplicate=True))
        for name, texts in inputs.items():
            table = done.tables[f"{self._tokenizer.key}.{name}"]
            arrays, fields = [column.combine_chunks() for column in table.columns], list(table.schema)
            rows = pa.StructArray.from_arrays(arrays, fields=fields).take(done.inputs[name].combine_chunks())
            if self._tokenizer.offsets and name == "text":  # spans are cut out of the original text
                parts = [texts, *rows.flatten()]
                rows = pa.StructArray.from_arrays(
                    parts, fields=[pa.field(_TEXT, texts.type), *fields], mask=rows.is_null()
                )
            batch = batch.append_column(_column(self._tokenizer.key, name), rows)
        return batch


class Encode:
    """A stage that replaces the tokens of `Tokenize` by a model's results; each instance loads the model.

    Rows without text have null results. A row that the model cannot take is an InputError. `keep_tokens`
    keeps the tokens for another model with the same tokenizer.
    """

    def __init__(self, model: ModelSpec, *, keep_tokens: bool = False) -> None:
        self._encoder = Encoder(model)
        self._tokenizer = model.tokenizer
        self._keep = keep_tokens

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Return the batch with the model's columns."""
        names = {name: _column(self._tokenizer.key, name) for name in self._tokenizer.columns}
        missing = [column for column in names.values() if column not in batch.column_names]
        if missing:
            raise InputError(f"the batch has no tokens for this model; expected {missing[0]!r} from Tokenize")
        encoded = self._encoder.encode(self._block(batch, names))
        if encoded.stats.refused:
            row, reason = next(iter(encoded.stats.refused.items()))
            raise InputError(f"row {row} of the batch cannot be encoded: {reason}")
        kept = batch if self._keep else batch.drop_columns(list(names.values()))
        for field, column in zip(encoded.columns.schema, encoded.columns.columns, strict=True):
            kept = kept.append_column(field, column)
        return kept

    def _block(self, batch: pa.Table, names: dict[str, str]) -> UnitBlock:
        inputs, tables = {}, {}
        for name, column in names.items():
            rows = batch[column].combine_chunks()
            there = np.asarray(rows.is_valid())
            inputs[name] = pa.array(np.cumsum(there) - 1, mask=~there)
            present = pa.Table.from_struct_array(rows.drop_null())
            if _TEXT in present.column_names:
                tables["text"] = pa.table({"text": present[_TEXT]})
                present = present.drop_columns([_TEXT])
            tables[f"{self._tokenizer.key}.{name}"] = present
        return UnitBlock(
            Unit("batch", "a batch", 0, 0), pa.table({}), pa.table(inputs), tokens={}, tables=tables
        )


def _texts(batch: pa.Table, column: str) -> pa.Array:
    if column not in batch.column_names:
        there = ", ".join(batch.column_names)
        raise InputError(f"expected a text column {column!r}, the batch has {there}")
    found = batch[column].combine_chunks()
    lists = pa.types.is_list(found.type) or pa.types.is_large_list(found.type)
    return found.cast(pa.list_(pa.large_string()) if lists else pa.large_string())


def _column(key: str, name: str) -> str:
    return f"{PREFIX}{key}.{name}"
