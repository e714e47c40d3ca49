"""From texts of a unit to token ids; each distinct text is tokenized once per distinct tokenizer.

In the result, each column of `inputs` has the number of the row's distinct text (null for a null text). The
table `<tokenizer key>.<column>` of `tables` has the tokens of the distinct texts, without special tokens:
`ids` list<int32>, and for a task that points into the text also `starts` and `ends` (list<int32>, code points
of the original text) and `begins` (list<bool>: the token begins a word). For a column of lists of texts,
`ids` is list<list<int32>>. `tables["text"]` has the distinct texts if spans are cut out of them.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
from tokenizers import Encoding, Tokenizer

from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.checkpoints.find import tokenizer_folder
from corpusmill.pipeline.ragged import Array
from corpusmill.pipeline.spec import Tokenization, TokenizerSpec
from corpusmill.pipeline.tokenize.distinct import DistinctTexts, distinct_texts, texts_of_marked_pairs
from corpusmill.pipeline.tokenize.early_cut import EarlyCut
from corpusmill.pipeline.tokenize.tokenizer import load_tokenizer

BATCH = 1024
"""Texts per call of the tokenizer: bounds its memory, and is enough for its full speed."""
COUNT_GROWTH = 4
"""Factor by which each attempt counts more tokens of two long texts."""


def tokenize(block: UnitBlock, tokenization: Tokenization) -> UnitBlock:
    """Replace the texts of a block by token ids; return a block that reports a failure unchanged."""
    if block.error is not None:
        return block
    columns = {
        name: distinct_texts(block.inputs[name], deduplicate=tokenization.deduplicate)
        for name in block.inputs.column_names
    }
    tables: dict[str, pa.Table] = {}
    counts: dict[str, int] = {}
    for spec in tokenization.tokenizers:
        of_column = {name: _token_table(columns[name], spec, _prompt(name, spec)) for name in spec.columns}
        counts[spec.key] = sum(_count_tokens(table, columns[name]) for name, table in of_column.items())
        if spec.lengths and len(of_column) > 1:
            of_column = _with_lengths(of_column, columns, spec)
        tables |= {f"{spec.key}.{name}": table for name, table in of_column.items()}
    if any(spec.offsets for spec in tokenization.tokenizers):
        tables["text"] = pa.table({"text": pa.array(columns["text"].values, pa.large_string())})
    inputs = pa.table({name: column.index for name, column in columns.items()})
    return block.tokenized(inputs, tables, counts)


def _prompt(name: str, spec: TokenizerSpec) -> str:
    """Return the prompt of a column: of a pair, only the first text has one."""
    return spec.prompt if name == "text" else ""


def _token_table(column: DistinctTexts, spec: TokenizerSpec, prompt: str) -> pa.Table:
    """Tokenize the distinct values of a column."""
    tokenizer = load_tokenizer(tokenizer_folder(spec), sentence=spec.sentence)
    texts = [prompt + text for text in column.values] if prompt else column.values
    fields: dict[str, list[Any]] = {"ids": []}
    if spec.offsets:
        fields |= {"starts": [], "ends": [], "begins": []}
    for text, encoding in zip(texts, _encodings(tokenizer, texts, spec), strict=True):
        fields["ids"].append(encoding.ids[: spec.limit])
        if spec.offsets:
            starts, ends = _offsets(text, encoding)
            fields["starts"].append(starts[: spec.limit])
            fields["ends"].append(ends[: spec.limit])
            fields["begins"].append(_word_begins(encoding)[: spec.limit])
    return pa.table({name: column.grouped(_ragged(lists, name)) for name, lists in fields.items()})


def _with_lengths(
    of_column: dict[str, pa.Table], columns: dict[str, DistinctTexts], spec: TokenizerSpec
) -> dict[str, pa.Table]:
    """Add the number of tokens of each text; if both texts of a pair are cut, count on until one ends.

    This tells which one is longer, and a long text costs no more than its partner.
    """
    flat = {name: _flat_lists(table, columns[name]) for name, table in of_column.items()}
    lengths = {name: np.diff(np.asarray(lists.offsets)) for name, lists in flat.items()}
    tokenizer, limit = load_tokenizer(tokenizer_folder(spec), sentence=spec.sentence), spec.limit
    while limit is not None:
        cut = {name: found == limit for name, found in lengths.items()}
        doubtful = texts_of_marked_pairs(columns["text"], columns["text_pair"], cut["text"], cut["text_pair"])
        limit = limit * COUNT_GROWTH if len(doubtful["text"]) else None
        for name, values in doubtful.items():
            prompt = _prompt(name, spec)
            texts = [prompt + columns[name].values[i] for i in values.tolist()]
            counted = replace(spec, limit=limit, offsets=False)
            lengths[name][values] = [
                len(encoding.ids[:limit]) for encoding in _encodings(tokenizer, texts, counted)
            ]
    return {
        name: table.append_column("lengths", columns[name].grouped(pa.array(lengths[name])))
        for name, table in of_column.items()
    }


def _encodings(tokenizer: Tokenizer, texts: Sequence[str], spec: TokenizerSpec) -> Iterator[Encoding]:
    """Yield the encoding of each text without special tokens, with at least its first `limit` tokens."""
    encode = tokenizer.encode_batch if spec.offsets else tokenizer.encode_batch_fast
    early = None if spec.limit is None else EarlyCut.of(tokenizer)
    for first in range(0, len(texts), BATCH):
        batch = texts[first : first + BATCH]
        if early is None or spec.limit is None:
            yield from encode(batch, add_special_tokens=False)
            continue
        prefixes = [early.prefix(text, spec.limit) for text in batch]
        found = encode(prefixes, add_special_tokens=False)
        for text, prefix, encoding in zip(batch, prefixes, found, strict=True):
            attempt, tried, last = 0, prefix, encoding
            while not early.suffices(tried, text, len(last), spec.limit):
                attempt += 1
                tried = early.prefix(text, spec.limit, attempt=attempt)
                last = encode([tried], add_special_tokens=False)[0]
            yield last


def _offsets(text: str, encoding: Encoding) -> tuple[list[int], list[int]]:
    """Return the starts and ends of tokens in the text; a stripped accent belongs to its letter.

    The offsets of the tokenizer leave out a nonspacing mark at the end of a token if normalization strips it.
    """
    offsets = encoding.offsets
    starts, ends = [start for start, _ in offsets], [end for _, end in offsets]
    if not text.isascii():
        for i, end in enumerate(ends):
            stop = starts[i + 1] if i + 1 < len(starts) else len(text)
            while end < stop and unicodedata.category(text[end]) == "Mn":
                end += 1  # noqa: PLW2901
            ends[i] = end
    return starts, ends


def _word_begins(encoding: Encoding) -> list[bool]:
    words = encoding.word_ids
    return [i == 0 or word is None or word != words[i - 1] for i, word in enumerate(words)]


def _ragged(lists: list[list[Any]], name: str) -> pa.Array:
    """Build list<T> from one flat array: 7 times faster to move between processes than lists of objects."""
    dtype = np.bool_ if name == "begins" else np.int32
    lengths = np.fromiter(map(len, lists), np.int64, len(lists))
    values: Array = np.fromiter(chain.from_iterable(lists), dtype, int(lengths.sum()))
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))


def _count_tokens(table: pa.Table, column: DistinctTexts) -> int:
    """Count the tokens of a table's distinct texts."""
    return len(_flat_lists(table, column).values)


def _flat_lists(table: pa.Table, column: DistinctTexts) -> pa.Array:
    """Return the tokens of a table's distinct texts; the texts of lists are laid end to end."""
    lists = table["ids"].combine_chunks()
    return lists if column.groups is None else lists.values
