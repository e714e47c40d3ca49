"""One measurement, from its settings to its page."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path

import torch

from corpusmill.jobs.bench import architectures, job
from corpusmill.jobs.bench.results import (
    BenchResult,
    Findings,
    hardware,
    hardware_label,
    page_of,
    versions,
    write_page,
)
from corpusmill.jobs.bench.settings import Settings
from corpusmill.jobs.errors import BenchError
from corpusmill.pipeline.machine import compute_threads, usable_cpus

Measure = Callable[[Settings, Path], Findings]
"""A measurement of these settings, with a folder to work in, which is removed afterwards."""
THEMES: Mapping[str, Measure] = {"architectures": architectures.measure, "job": job.measure}


def bench(theme: str, settings: Settings, *, folder: Path | None = None, command: str = "") -> BenchResult:
    """Measure a theme and return the result; with a `folder`, write its page there."""
    if theme not in THEMES:
        raise BenchError(f"expected one of {', '.join(THEMES)}, got {theme!r}").at("theme")
    command = command or f"corpusmill bench {theme}"
    return run_measurement(theme, THEMES[theme], settings, folder=folder, command=command)


def run_measurement(
    theme: str, measure: Measure, settings: Settings, *, folder: Path | None, command: str
) -> BenchResult:
    """Run a measurement and return the result; with a `folder`, write its page there."""
    settings = replace(settings, threads=compute_threads(settings.threads or usable_cpus()))
    before = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        with tempfile.TemporaryDirectory(prefix="corpusmill-bench-") as work:
            findings = measure(settings, Path(work))
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
    return replace(
        result, page=str(write_page(folder, f"{theme}_{hardware_label()}", page_of(result, command)))
    )
