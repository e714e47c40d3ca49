"""The report of an output as an HTML page."""

import importlib.metadata
import importlib.resources
import io
import json
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from corpusmill.jobs.driver.fingerprint import open_output
from corpusmill.jobs.report.charts import bars, legend, lines, stacked
from corpusmill.jobs.report.columns import Figure, figures
from corpusmill.jobs.report.sample import current_units, random_rows, sampled_rejects, sampled_rows
from corpusmill.jobs.report.timeline import Timeline, read_timeline
from corpusmill.pipeline.encode.batches import LENGTH_CLASSES, Counts
from corpusmill.pipeline.errors import OutputError
from corpusmill.pipeline.output.folder import OutputFolder
from corpusmill.pipeline.output.manifest import CURRENT, receipts

FILE = "report.html"
ROWS_SHOWN = 10
VALUE_LENGTH = 200
"""The most characters of a value in a table."""


@dataclass(frozen=True, slots=True)
class ReportResult:
    """The path and the size of a report."""

    output: str
    html: str
    bytes: int


def report(output: str, html: str | None = None) -> ReportResult:
    """Write the report of an output, finished or not: to a local file, or into its own `_job/` folder."""
    folder, job = open_output(output)
    content = page(folder, job).encode("utf-8", "backslashreplace")
    if html is None:
        path = folder.job(FILE)
        folder.put(path, content)
    else:
        path = str(Path(html).absolute())
        try:
            Path(html).write_bytes(content)
        except OSError as error:
            raise OutputError(f"{html}: cannot be written ({error.strerror})").at("--html") from None
    return ReportResult(folder.url, path, len(content))


def page(folder: OutputFolder, job: dict[str, Any]) -> str:
    """Return the page of an output; `job` is its fingerprint."""
    rng = np.random.default_rng(0)  # the same rows each time, so that two reports can be compared
    units = current_units(folder)
    sample = sampled_rows(folder, units)
    counts = _counts(folder, units)
    timeline = read_timeline(folder)
    kept = [
        name for name in job["input.keep"] if sample.table is not None and name in sample.table.column_names
    ]
    results = [
        name for name in (sample.table.column_names if sample.table is not None else []) if name not in kept
    ]
    source = f"From {sample.files:,} of {sample.of_files:,} files." if sample.files < sample.of_files else ""
    result_figures = list(figures(sample.table, results, kept, rng)) if sample.table is not None else []
    shown = random_rows(sample.table, ROWS_SHOWN, rng).to_pylist() if sample.table is not None else []
    template = importlib.resources.files("corpusmill.jobs.report").joinpath("page.html").read_text("utf-8")
    return (
        jinja2.Environment(autoescape=True)
        .from_string(template)
        .render(
            name=_settings_of(folder).get("name", "corpusmill"),
            output=folder.url,
            state="finished" if folder.exists(folder.manifest) else "not finished",
            made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            tiles=[*_tiles(folder, counts), *_truncated(timeline)],
            sections=[
                ("The run", "", list(_run_figures(timeline))),
                ("Results", source, result_figures),
            ],
            incidents=[
                (f"{datetime.fromtimestamp(mark.time, UTC):%m-%d %H:%M:%S}", mark.text)
                for mark in timeline.incidents[-200:]
            ],
            rejects=sampled_rejects(folder, units, rng),
            columns=list(shown[0]) if shown else [],
            rows=[[_shortened(value) for value in row.values()] for row in shown],
            settings=list(_settings(folder, job)),
        )
    )


def _run_figures(timeline: Timeline) -> Iterator[Figure]:
    scaling = [mark for mark in timeline.incidents if "workers" in mark.text]
    if timeline.throughput:
        yield Figure("tokens per second", lines(timeline.throughput))
    if timeline.queues:
        names = [series.name for series in timeline.queues]
        yield Figure("tokens waiting for each model", lines(timeline.queues) + legend(names))
    if timeline.workers:
        names = [series.name for series in timeline.workers]
        chart = lines(timeline.workers, steps=True, marks=scaling)
        yield Figure("workers of each pool, starting ones included", chart + legend(names))
    if timeline.stages:
        parts = legend(("at work", "waiting for input", "blocked on output", "starting"))
        yield Figure("seconds by stage, all tasks and workers", stacked(timeline.stages) + parts)
    for model, lengths in timeline.lengths.items():
        yield Figure(f"{model}: sequences by their tokens", bars(_length_classes(lengths)))


def _counts(folder: OutputFolder, units: list[str]) -> pa.Table:
    """Return rows, rejects and tokens of each unit."""
    names = ["rows", "rejected", "tokens"]
    if folder.exists(folder.manifest):
        table = pq.read_table(io.BytesIO(folder.read(folder.manifest)), columns=[*names, "state"])
        return table.filter(pc.equal(table["state"], CURRENT)).select(names)
    records = [receipt.record for receipt in receipts(folder, units).values()]
    return pa.table(
        {name: pa.array([getattr(record, name) for record in records], pa.int64()) for name in names}
    )


def _length_classes(lengths: Counts) -> list[tuple[str, float]]:
    """Return names and counts of the length classes, up to the longest with a sequence."""
    names = [f"{least:,} to {end - 1:,}" for least, end in pairwise(LENGTH_CLASSES)]
    named = list(zip([*names, f"{LENGTH_CLASSES[-1]:,} and more"], lengths, strict=True))
    while named and not named[-1][1]:
        named.pop()
    return [(name, float(count)) for name, count in named]


def _tiles(folder: OutputFolder, counts: pa.Table) -> list[tuple[str, str]]:
    tiles = [(name, f"{pc.sum(counts[name]).as_py() or 0:,}") for name in counts.column_names]
    tiles.append(("units", f"{counts.num_rows:,}"))
    stats = _json(folder, "stats.json")
    for name, label, form in (
        ("tokens_per_second", "tokens per second", "{:,.0f}"),
        ("seconds", "seconds, last run", "{:,.1f}"),
        ("workers_peak", "workers at most", "{:,}"),
    ):
        if name in stats:
            tiles.append((label, form.format(stats[name])))
    return tiles


def _truncated(timeline: Timeline) -> Iterator[tuple[str, str]]:
    """Yield the truncated rows of each model that has some."""
    for model, (truncated, rows) in timeline.truncated.items():
        if truncated:
            yield f"rows truncated, {model}", f"{truncated:,} ({truncated / rows:.1%})"


def _settings(folder: OutputFolder, job: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the job file, the fingerprint, and the versions that wrote this page."""
    yield "job", yaml.safe_dump(_settings_of(folder), sort_keys=False, allow_unicode=True)
    for name, value in sorted(job.items()):
        yield f"fingerprint: {name}", json.dumps(value, ensure_ascii=False)
    for package in ("corpusmill", "torch", "ray", "pyarrow", "tokenizers"):
        yield f"version: {package}", importlib.metadata.version(package)
    yield "version: Python", platform.python_version()


def _settings_of(folder: OutputFolder) -> dict[str, Any]:
    path = folder.job("job.yaml")
    return dict(yaml.safe_load(folder.read(path))) if folder.exists(path) else {}


def _json(folder: OutputFolder, name: str) -> dict[str, Any]:
    return dict(json.loads(folder.read(folder.job(name)))) if folder.exists(folder.job(name)) else {}


def _shortened(value: object) -> str:
    if isinstance(value, list) and len(value) > 8 and all(isinstance(one, float | int) for one in value):
        return f"[{', '.join(f'{one:.4g}' for one in value[:4])}, … {len(value)} values]"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= VALUE_LENGTH else text[: VALUE_LENGTH - 1] + "…"


def report_lines(result: ReportResult) -> Iterator[str]:
    """Yield the path and the size of the report."""
    yield f"{result.html} ({result.bytes / 1e3:,.0f} kB)"
