"""Texts of a unit to token ids, once per distinct tokenization.

A tokenization's columns in `inputs` are `<key>.ids` (list<int32>, null where a text is null) and, for
pairs, `<key>.types` (list<int8>: 0 for the first text and its specials, 1 for the second).
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.checkpoints import tokenizer_folder
from corpusmill.pipeline.errors import TokenizerError
from corpusmill.pipeline.spec import TokenizerSpec
from corpusmill.pipeline.vocabulary import load_tokenizer

BATCH = 1024
"""Texts handed to the tokenizer at once: bounds its memory, and is far more than it needs for speed."""


def tokenize(block: UnitBlock, tokenizers: Sequence[TokenizerSpec]) -> UnitBlock:
    """Replace the texts of a block by token ids; a block that reports a failure passes unchanged."""
    if block.error is not None:
        return block
    columns: dict[str, pa.Array] = {}
    counts: dict[str, int] = {}
    for spec in tokenizers:
        columns |= _columns(block.inputs, spec)
        counts[spec.key] = len(columns[f"{spec.key}.ids"].values)
    return block.with_inputs(pa.table(columns), counts)


def _columns(texts: pa.Table, spec: TokenizerSpec) -> dict[str, pa.Array]:
    pairs = "text_pair" in texts.column_names
    rows = _complete_rows(texts)
    present = [row for row in rows if row is not None]
    tokenizer = load_tokenizer(tokenizer_folder(spec), spec.max_length)
    specials = tokenizer.num_special_tokens_to_add(pairs)
    if spec.max_length <= specials:
        # The tokenizer would not cut at all.
        raise TokenizerError(
            f"{spec.folder}: max_length {spec.max_length} leaves no room beside {specials} special tokens; "
            f"set the model's max_length to {specials + 1} or more"
        )
    ids: list[list[int]] = []
    types: list[list[int]] = []
    for start in range(0, len(present), BATCH):
        encodings = tokenizer.encode_batch_fast(present[start : start + BATCH])
        ids += [encoding.ids for encoding in encodings]
        if pairs:
            types += [encoding.type_ids for encoding in encodings]
    missing = np.fromiter((row is None for row in rows), bool, len(rows))
    columns = {f"{spec.key}.ids": _ragged(ids, missing, np.int32)}
    if pairs:
        columns[f"{spec.key}.types"] = _ragged(types, missing, np.int8)
    return columns


def _complete_rows(texts: pa.Table) -> list[Any]:
    """Return each row's text or pair of texts, None where one of them is null."""
    first: list[Any] = texts["text"].to_pylist()
    if "text_pair" not in texts.column_names:
        return first
    return [
        None if a is None or b is None else (a, b)
        for a, b in zip(first, texts["text_pair"].to_pylist(), strict=True)
    ]


def _ragged(
    lists: list[list[int]], missing: np.ndarray[Any, np.dtype[np.bool_]], dtype: type[np.integer[Any]]
) -> pa.Array:
    """Build list<T> from one flat array; 7 times cheaper to move between processes than lists of objects."""
    lengths = np.zeros(len(missing), np.int64)
    lengths[~missing] = [len(item) for item in lists]
    values = np.fromiter(chain.from_iterable(lists), dtype, int(lengths.sum()))
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values), mask=pa.array(missing))
