"""The cost of a whole job by the size of its corpus."""

from itertools import cycle, islice
from pathlib import Path

from corpusmill.jobs import run
from corpusmill.jobs.bench import Findings, Settings, Table
from corpusmill.jobs.bench.job import job_over
from corpusmill.jobs.bench.shapes import checkpoint_of
from corpusmill.jobs.bench.texts import corpus_of
from corpusmill.jobs.demo.job import CLASSIFIER, shipped
from measurement import main

STEPS = (1, 10, 100)


def measure(settings: Settings, work: Path) -> Findings:
    """Run jobs over 1, 10 and 100 times `documents` documents with a small model, on Ray."""
    checkpoint = (
        checkpoint_of(settings.architectures[0], work, tokenizer=settings.tokenizer)
        if settings.architectures
        else Path(shipped(CLASSIFIER))
    )
    corpus = corpus_of(settings)
    dtype = settings.dtypes[0]
    rows = []
    for documents in (step * settings.documents for step in STEPS):
        texts = islice(cycle(corpus), documents)
        config = job_over(texts, checkpoint, work, settings, dtype=dtype, name=f"of-{documents}")
        result = run(config)
        working = result.tokens / result.tokens_per_second
        rows.append(
            {
                "documents": documents,
                "tokens": result.tokens,
                "units": result.units,
                "seconds": result.seconds,
                "start-up and end, s": round(result.seconds - working, 1),
                "tokens/s": round(result.tokens_per_second),
                "microseconds a document": round(working / documents * 1e6, 1),
            }
        )
    title = f"Cost and corpus size: {checkpoint.name} in {dtype}"
    note = "Rates count from the first ready worker on. Texts repeat where the corpus has fewer documents."
    return Findings(title, (Table("Whole jobs on Ray", tuple(rows)),), (note,))


if __name__ == "__main__":
    main(__doc__, measure, defaults=Settings(documents=1000))
