"""The settings of a measurement."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """A measurement's settings.

    `documents` is the number drawn from `corpus`, a Parquet file with a column `text` (None: the standard
    library's documentation). `tokenizer` is a tokenizer.json (None: the bundled one). `architectures` are
    base shapes with random weights, or folders of checkpoints. Each contender runs `rounds` times, in turn
    with the others; the best round counts.
    """

    documents: int = 256
    corpus: str | None = None
    tokenizer: str | None = None
    architectures: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ("float32", "bfloat16", "int8")
    tokens_per_batch: int = 2048
    threads: int = 0
    rounds: int = 3
    seed: int = 0
