"""Texts tokenized and laid out as a job does it, for tests that compare with other tokenizers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.encode.items import distinct_items
from corpusmill.pipeline.encode.sequences import Layout, Sequences, row_pairs
from corpusmill.pipeline.input.units import Unit
from corpusmill.pipeline.spec import Tokenization, TokenizerSpec
from corpusmill.pipeline.tokenize.settings import read_settings
from corpusmill.pipeline.tokenize.tokenizer import load_tokenizer, tokenizer_digest
from corpusmill.pipeline.tokenize.tokens import tokenize

Texts = Sequence[str | None]


def text_block(texts: Texts, pairs: Texts | None = None) -> UnitBlock:
    """A unit of these texts, and of these second ones."""
    columns = {"text": pa.array(texts, pa.large_string())}
    if pairs is not None:
        columns["text_pair"] = pa.array(pairs, pa.large_string())
    return UnitBlock(Unit("u", "/in", 0, 0), pa.table({}), pa.table(columns))


def spec_of(folder: Path, **wanted: Any) -> TokenizerSpec:
    """What a model asks of the tokenizer in a folder."""
    digest = tokenizer_digest(str(folder), sentence=wanted.get("sentence", False))
    return TokenizerSpec(str(folder), digest, str(folder), **wanted)


def tokenized(block: UnitBlock, *specs: TokenizerSpec, deduplicate: bool = True) -> UnitBlock:
    """A unit after the tokenization stage."""
    return tokenize(block, Tokenization(specs, deduplicate))


def lay_out(
    folder: Path,
    texts: Texts,
    pairs: Texts | None = None,
    *,
    max_length: int,
    stride: int | None = None,
    text_first: bool = True,
    sentence: bool = False,
) -> Sequences:
    """A sequence or its windows for each text, or pair, without deduplication.

    As jobs do it: texts are cut early unless there are windows, and of pairs the longer text is cut unless
    there are windows of the first.
    """
    settings = read_settings(str(folder), sentence=sentence)
    limit = max_length if stride is None and not settings.cuts_left else None
    columns = ("text",) if pairs is None else ("text", "text_pair")
    spec = spec_of(folder, columns=columns, limit=limit, lengths=pairs is not None, sentence=sentence)
    block = tokenized(text_block(texts, pairs), spec, deduplicate=False)
    items = distinct_items(block, spec.key, spec.columns)
    layout = Layout.of(load_tokenizer(str(folder), sentence=sentence), max_length, stride, settings)
    if pairs is None:
        return layout.singles(items.text.ids, items.rows["text"])
    second, rows = items.tables["text_pair"], row_pairs(items.rows["text"], items.rows["text_pair"])
    if stride is None:
        return layout.pairs_cut_longest(items.text, second, rows)
    return layout.pairs_cut_text(items.text.ids, second.ids, rows, text_first=text_first)


def ids_of(sequences: Sequences) -> list[list[int]]:
    """Each sequence's ids."""
    return split(sequences.tokens.values, sequences)


def types_of(sequences: Sequences) -> list[list[int]]:
    """Each sequence's token types."""
    types = np.zeros(len(sequences.tokens.values), np.int8) if sequences.types is None else sequences.types
    return split(types, sequences)


def split(values: Any, sequences: Sequences) -> list[list[int]]:
    """Values of all tokens, as a list a sequence."""
    if not len(sequences):
        return []
    return [part.tolist() for part in np.split(values, sequences.tokens.offsets[1:-1])]
