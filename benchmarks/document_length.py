"""The cost of a document by its length."""

from functools import partial
from pathlib import Path

import numpy as np

from corpusmill.jobs.bench import Findings, Settings, Table
from corpusmill.jobs.bench.architectures import flops
from corpusmill.jobs.bench.results import PeakRate, best_seconds
from corpusmill.jobs.bench.shapes import checkpoint_of
from corpusmill.jobs.bench.texts import packed_batches
from corpusmill.models import Model, PackedTokens, load_model
from measurement import main

LENGTHS = (32, 64, 128, 256, 512)
SHAPE = "distilbert"
TOKENS = 8192
"""The tokens of each length; there is at least one document."""


def measure(settings: Settings, work: Path) -> Findings:
    """Run documents of one length after another, with the same number of tokens of each."""
    (shape,) = settings.architectures[:1] or (SHAPE,)
    dtype = settings.dtypes[0]
    model = load_model(checkpoint_of(shape, work), task="base", dtype=dtype)
    lengths = [length for length in LENGTHS if length <= model.checkpoint.max_positions]
    batches = {length: _documents(model, length, settings) for length in lengths}
    limit = PeakRate(dtype, threads=settings.threads)
    runs = {"limit": limit} | {str(length): partial(_run, model, batches[length]) for length in lengths}
    best, _ = best_seconds(runs, rounds=settings.rounds, threads=settings.threads)
    rows = []
    for length in lengths:
        seconds = best[str(length)]
        tokens = sum(len(batch.input_ids) for batch in batches[length])
        rows.append(
            {
                "tokens a document": length,
                "tokens/s": round(tokens / seconds),
                "documents/s": round(tokens / length / seconds, 1),
                "share of the limit": round(flops(model, batches[length]) / seconds / limit.flops, 3),
            }
        )
    title = f"Cost and document length: {shape} in {dtype}"
    return Findings(title, (Table("Throughput of the model stage", tuple(rows)),))


def _documents(model: Model, length: int, settings: Settings) -> list[PackedTokens]:
    random = np.random.default_rng(settings.seed)
    count = max(1, TOKENS // length)
    ids = random.integers(5, model.checkpoint.vocab_size, (count, length))
    return packed_batches(list(ids), budget=settings.tokens_per_batch)


def _run(model: Model, batches: list[PackedTokens]) -> None:
    for batch in batches:
        model(batch)


if __name__ == "__main__":
    main(__doc__, measure)
