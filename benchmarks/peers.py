"""The model stage against other engines, on the same ids, weights and threads, in turn."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from corpusmill.jobs.bench import Findings, Row, Settings, Table
from corpusmill.jobs.bench.results import best_seconds
from corpusmill.jobs.bench.shapes import checkpoint_of
from corpusmill.jobs.bench.texts import ids_of, packed_batches
from corpusmill.models import Model, PackedTokens, load_model, read_checkpoint
from engines import Call, Ids, engines
from measurement import main

SHAPE = "distilbert"
BATCH = 32
USUAL = "transformers float32, order of arrival"
Batch = tuple[Ids, Ids]


def measure(settings: Settings, work: Path) -> Findings:
    """Run every engine on padded batches of documents sorted by length, and ours on packed ones."""
    (shape,) = settings.architectures[:1] or (SHAPE,)
    checkpoint = checkpoint_of(shape, work)
    ids = ids_of(settings)
    longest_first = sorted(ids, key=len, reverse=True)
    others = engines(checkpoint, work, threads=settings.threads)
    runs: dict[str, Callable[[], object]] = {
        f"{name}, sorted": partial(_run_padded, call, list(padded(longest_first)))
        for name, call in others.items()
    }
    runs[USUAL] = partial(_run_padded, others["transformers float32"], list(padded(ids)))
    batches = packed_batches(ids, budget=settings.tokens_per_batch)
    refused = read_checkpoint(checkpoint, "base").refused_dtypes
    for dtype in settings.dtypes:
        if dtype not in refused:
            model = load_model(checkpoint, task="base", dtype=dtype)
            runs[f"corpusmill {dtype}"] = partial(_run_packed, model, batches)
    # Other engines work in threads of their own, which only the wall clock measures.
    best, every = best_seconds(runs, rounds=settings.rounds, threads=0)
    tokens = sum(map(len, ids))
    rows = sorted(
        (
            {
                "contender": name,
                "tokens/s, best": round(tokens / seconds),
                "tokens/s, median": round(tokens / statistics.median(every[name])),
            }
            for name, seconds in best.items()
        ),
        key=lambda row: -row["tokens/s, best"],  # type: ignore[operator]
    )
    return Findings(
        f"Other engines on a CPU: {shape}",
        (Table("Throughput, real tokens", tuple(rows)), Table("Ratios", tuple(_ratios(best, settings)))),
        (f"{len(ids)} documents, {tokens:,} tokens; contenders that pad have batches of {BATCH}.",),
    )


def padded(sequences: Sequence[Sequence[int]]) -> Iterator[Batch]:
    """Yield batches of ids and masks, as wide as their longest sequence."""
    for start in range(0, len(sequences), BATCH):
        rows = sequences[start : start + BATCH]
        ids_NL = np.zeros((len(rows), max(map(len, rows))), np.int64)
        mask_NL = np.zeros_like(ids_NL)
        for row, ids in enumerate(rows):
            ids_NL[row, : len(ids)] = ids
            mask_NL[row, : len(ids)] = 1
        yield ids_NL, mask_NL


def _run_padded(call: Call, batches: Sequence[Batch]) -> None:
    for ids_NL, mask_NL in batches:
        call(ids_NL, mask_NL)


def _run_packed(model: Model, batches: Sequence[PackedTokens]) -> None:
    for batch in batches:
        model(batch)


def _ratios(best: dict[str, float], settings: Settings) -> Iterator[Row]:
    """Yield each of our dtypes against the fastest engine in it, and against transformers in float32."""
    for dtype in settings.dtypes:
        ours = best.get(f"corpusmill {dtype}")
        others = {name: best[name] for name in best if name.endswith(f" {dtype}, sorted")}
        if ours is not None and others:
            fastest = min(others, key=others.__getitem__)
            yield {
                "dtype": dtype,
                "fastest other": fastest,
                "times as fast": round(others[fastest] / ours, 2),
                f"against {USUAL}": round(best[USUAL] / ours, 2),
            }


if __name__ == "__main__":
    main(__doc__, measure)
