"""Runs a task over some rows, the way a unit goes through the pipeline."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from corpusmill.pipeline.blocks import UnitBlock, pack_block, unpack_block
from corpusmill.pipeline.encode.encoder import Encoder
from corpusmill.pipeline.input.units import Unit
from corpusmill.pipeline.spec import ModelSpec, Tokenization
from corpusmill.pipeline.tokenize.tokens import tokenize

TEXTS = pa.large_string()
LISTS = pa.list_(pa.large_string())


def encoded(spec: ModelSpec, *, deduplicate: bool = True, **inputs: Sequence[Any]) -> pa.Table:
    """The task's columns for rows of `text` and, for lists or texts, `text_pair`."""
    columns = {name: pa.array(values, _kind(values)) for name, values in inputs.items()}
    block = UnitBlock(Unit("u", "/in", 0, 0), pa.table({}), pa.table(columns))
    tokens = tokenize(block, Tokenization((spec.tokenizer,), deduplicate))
    return Encoder(spec).encode(unpack_block(pack_block(tokens))).columns


def _kind(values: Sequence[Any]) -> pa.DataType:
    return LISTS if any(isinstance(value, list) for value in values) else TEXTS
