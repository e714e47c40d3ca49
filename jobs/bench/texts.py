"""The documents of a measurement, as texts, token ids and packed batches."""

import importlib.resources
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from tokenizers import Tokenizer

from corpusmill.jobs.bench.settings import Settings
from corpusmill.jobs.bench.shapes import BUNDLED
from corpusmill.jobs.errors import BenchError
from corpusmill.models import PackedTokens

LONGEST = 512


def texts_of(settings: Settings) -> list[str]:
    """Draw documents without repetition; refuse a corpus that has too few."""
    texts = corpus_of(settings)
    if len(texts) < settings.documents:
        where = settings.corpus or "the standard library's documentation"
        raise BenchError(f"expected at least {settings.documents} documents in {where}, got {len(texts)}").at(
            "docs"
        )
    chosen = np.random.default_rng(settings.seed).permutation(len(texts))[: settings.documents]
    return [texts[index] for index in chosen]


def corpus_of(settings: Settings) -> list[str]:
    """Return all documents of the corpus, in its order."""
    return _bundled() if settings.corpus is None else _column(settings.corpus)


def tokenizer_of(settings: Settings) -> Tokenizer:
    """Return the tokenizer, which truncates at 512 tokens and does not pad."""
    bundled = str(importlib.resources.files("corpusmill.demo") / BUNDLED / "tokenizer.json")
    tokenizer = Tokenizer.from_file(settings.tokenizer or bundled)
    tokenizer.no_padding()
    tokenizer.enable_truncation(LONGEST)
    return tokenizer


def ids_of(settings: Settings) -> list[list[int]]:
    """Return the documents' token ids."""
    encoded = tokenizer_of(settings).encode_batch(texts_of(settings))
    return [encoding.ids for encoding in encoded]


def packed_batches(sequences: Sequence[Sequence[int]], *, budget: int) -> list[PackedTokens]:
    """Return batches of sequences, longest first, each as large as the budget of tokens allows."""
    groups: list[list[Sequence[int]]] = [[]]
    total = 0
    for ids in sorted(sequences, key=len, reverse=True):
        if groups[-1] and total + len(ids) > budget:
            groups.append([])
            total = 0
        groups[-1].append(ids)
        total += len(ids)
    return [PackedTokens.from_sequences(group) for group in groups]


def _bundled() -> list[str]:
    from corpusmill.jobs.demo.corpus import collect

    return [document.text for document in collect()]


def _column(path: str) -> list[str]:
    if not Path(path).is_file():
        raise BenchError(f"expected a Parquet file at {path}, found none").at("corpus")
    texts: list[str] = [text for text in pq.read_table(path, columns=["text"])["text"].to_pylist() if text]
    return texts
