"""One measurement from its settings to its page."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path

import torch

from corpusmill.jobs.bench import (
    accuracy,
    architectures,
    corpus_size,
    document_length,
    job,
    peers,
    tokenizing,
)
from corpusmill.jobs.bench.machine import hardware, label, versions
from corpusmill.jobs.bench.problems import BenchError
from corpusmill.jobs.bench.results import BenchResult, Findings, page_of, write_page
from corpusmill.jobs.bench.settings import Settings
from corpusmill.pipeline.cpus import usable_cpus

THEMES: Mapping[str, Callable[[Settings, Path], Findings]] = {
    "architectures": architectures.measure,
    "peers": peers.measure,
    "accuracy": accuracy.measure,
    "job": job.measure,
    "length": document_length.measure,
    "size": corpus_size.measure,
    "tokenizer": tokenizing.measure,
}
"""Each is given its settings and a folder to work in, which is gone afterwards."""


def bench(theme: str, settings: Settings, *, folder: Path | None = None, command: str = "") -> BenchResult:
    """Measure a theme; with a `folder` the result's page is written there."""
    if theme not in THEMES:
        raise BenchError(f"expected one of {', '.join(THEMES)}, got {theme!r}").at("theme")
    settings = replace(settings, threads=settings.threads or usable_cpus())
    before = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        with tempfile.TemporaryDirectory(prefix="corpusmill-bench-") as work:
            findings = THEMES[theme](settings, Path(work))
    finally:
        torch.set_num_threads(before)
    result = BenchResult(
        theme=theme,
        title=findings.title,
        date=date.today().isoformat(),
        hardware=hardware(),
        threads=settings.threads,
        settings=asdict(settings),
        versions=versions(),
        tables={table.heading: table.rows for table in findings.tables},
        notes=findings.notes,
    )
    if folder is None:
        return result
    page = page_of(result, command or f"corpusmill bench {theme}")
    return replace(result, page=str(write_page(folder, f"{theme}_{label()}", page)))
