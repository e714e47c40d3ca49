"""The rate of the tokenizer, without a model."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from corpusmill.jobs.bench import Findings, Settings, Table
from corpusmill.jobs.bench.job import blocks_of, job_over, resolved
from corpusmill.jobs.bench.results import best_seconds
from corpusmill.jobs.bench.shapes import SHAPES, checkpoint_of
from corpusmill.jobs.bench.texts import texts_of, tokenizer_of
from corpusmill.pipeline.engine.stages import tokenize_block
from measurement import main


def measure(settings: Settings, work: Path) -> Findings:
    """Time the library on a list of texts, and the pipeline's stage on units of them."""
    texts = texts_of(settings)
    tokenizer = tokenizer_of(settings)
    tokens = sum(len(encoding.ids) for encoding in tokenizer.encode_batch(texts))
    checkpoint = checkpoint_of(next(iter(SHAPES)), work, tokenizer=settings.tokenizer)
    job, _ = resolved(job_over(texts, checkpoint, work, settings, dtype="float32"), threads=1)
    blocks = list(blocks_of(job))
    runs: dict[str, Callable[[], object]] = {
        "tokenizers library": partial(tokenizer.encode_batch_fast, texts),
        "tokenization stage": lambda: [tokenize_block(block, job.spec.tokenization) for block in blocks],
    }
    # The library works in threads of its own, which only the wall clock measures.
    best, _ = best_seconds(runs, rounds=settings.rounds, threads=0)
    rows = tuple(
        {
            "contender": name,
            "tokens/s": round(tokens / seconds),
            "documents/s": round(len(texts) / seconds),
            "MB/s": round(sum(len(text.encode()) for text in texts) / seconds / 1e6, 2),
        }
        for name, seconds in best.items()
    )
    return Findings(
        "Tokenization",
        (Table("Throughput", rows),),
        (
            f"{len(texts)} documents, {tokens:,} tokens, cut at 512.",
            "The stage also cuts long texts early, tokenizes equal texts once and builds an Arrow list.",
        ),
    )


if __name__ == "__main__":
    main(__doc__, measure)
