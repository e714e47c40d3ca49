"""Throughput of every architecture in every dtype, beside this machine's rate of matrix products."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from corpusmill.jobs.bench.results import PRODUCT, Findings, PeakRate, Row, Table, best_seconds
from corpusmill.jobs.bench.settings import Settings
from corpusmill.jobs.bench.shapes import SHAPES, checkpoint_of
from corpusmill.jobs.bench.texts import ids_of, packed_batches
from corpusmill.models import Model, PackedTokens, load_model

SPEEDUP_IN_PAPER = {"distilbert": 1.6, "mobilebert": 5.5, "squeezebert": 4.3}
"""Speed relative to BERT-base as their papers report it; the latter two on phones."""
BASE = "bert"


def measure(settings: Settings, work: Path) -> Findings:
    """Run base shapes or given checkpoints, in turn; shares are of the peak rate in the same dtype."""
    names = settings.architectures or tuple(name for name in SHAPES if name != "minilm")
    batches = packed_batches(ids_of(settings), budget=settings.tokens_per_batch)
    ceilings = {dtype: PeakRate(dtype, threads=settings.threads) for dtype in settings.dtypes}
    models = {
        (name, dtype): load_model(checkpoint_of(name, work), task="base", dtype=dtype)
        for name, dtype in _cells(names, settings.dtypes, work)
    }
    runs: dict[Any, Callable[[], object]] = dict(ceilings)
    runs |= {cell: _run(model, batches) for cell, model in models.items()}
    best, _ = best_seconds(runs, rounds=settings.rounds, threads=settings.threads)
    tokens = sum(len(batch.input_ids) for batch in batches)
    rows = []
    for (name, dtype), model in models.items():
        seconds = best[name, dtype]
        rows.append(
            {
                "architecture": name,
                "dtype": dtype,
                "tokens/s": round(tokens / seconds),
                "share of the limit": round(flops(model, batches) / seconds / ceilings[dtype].flops, 3),
                **_relative(name, dtype, best),
            }
        )
    limits = tuple({"dtype": dtype, "GFLOP/s": round(c.flops / 1e9)} for dtype, c in ceilings.items())
    return Findings(
        "Architectures on a CPU",
        (Table("Throughput of the model stage", tuple(rows)), Table("Matrix products", limits)),
        (
            f"{settings.documents} documents, {tokens:,} tokens, longest first, "
            f"{settings.tokens_per_batch:,} tokens per batch, without padding.",
            "The limit is the rate of one matrix product, timed between the runs, "
            f"of {' x '.join(map(str, PRODUCT))}; operations are those of linear maps and attention.",
            "Papers: DistilBERT on a CPU; MobileBERT and SqueezeBERT on phones.",
        ),
    )


def flops(model: Model, batches: Sequence[PackedTokens]) -> int:
    """Return the operations of a model on these batches."""
    lengths = (int(length) for batch in batches for length in batch.lengths)
    return sum(model.checkpoint.flops_per_token(length) * length for length in lengths)


def _cells(names: Sequence[str], dtypes: Sequence[str], work: Path) -> list[tuple[str, str]]:
    """Return the pairs of architecture and dtype that can run: some architectures refuse a dtype."""
    from corpusmill.models import read_checkpoint

    refused = {name: read_checkpoint(checkpoint_of(name, work), "base").refused_dtypes for name in names}
    return [(name, dtype) for name in names for dtype in dtypes if dtype not in refused[name]]


def _run(model: Model, batches: Sequence[PackedTokens]) -> Callable[[], object]:
    return lambda: [model(batch) for batch in batches]


def _relative(name: str, dtype: str, best: dict[Any, float]) -> Row:
    base = best.get((BASE, dtype))
    times = None if base is None else round(base / best[name, dtype], 2)
    return {"times BERT-base": times, "in its paper": SPEEDUP_IN_PAPER.get(name)}
