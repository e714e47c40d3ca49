"""Series over time of an output's runs, from `_job/events.jsonl`."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson

from corpusmill.jobs.driver.events import FILE
from corpusmill.jobs.report.charts import Mark, Series
from corpusmill.pipeline.encode.batches import Counts, sum_counts
from corpusmill.pipeline.output.append_log import record_lines
from corpusmill.pipeline.output.folder import OutputFolder

SECONDS_KINDS = ("busy", "waiting", "blocked", "startup")
"""The kinds of a stage's seconds, in the order of docs/job-folder.md."""
INCIDENTS = ("scaling", "worker_lost", "worker_note", "unit_failed")


@dataclass
class Timeline:
    """Throughput, each model's queue and workers over time; incidents; the last run's stages.

    `lengths` counts each model's sequences over all runs, `truncated` its truncated rows and its rows.
    """

    throughput: list[Series] = field(default_factory=list)
    queues: list[Series] = field(default_factory=list)
    workers: list[Series] = field(default_factory=list)
    incidents: list[Mark] = field(default_factory=list)
    stages: list[tuple[str, tuple[float, ...]]] = field(default_factory=list)
    lengths: dict[str, Counts] = field(default_factory=dict)
    truncated: dict[str, Counts] = field(default_factory=dict)


def read_timeline(folder: OutputFolder) -> Timeline:
    """Read the events; a line that a crash cut short is skipped."""
    events = list(_events(record_lines(folder, FILE)))
    found = Timeline(incidents=[_mark(event) for event in events if event["event"] in INCIDENTS])
    found.throughput = _throughput(events)
    found.queues = _pools(events, ("queued_tokens",))
    found.workers = _pools(events, ("workers", "starting"))
    finished = [event for event in events if event["event"] == "finish"]
    for stage in finished[-1].get("stages") or [] if finished else []:
        name = f"{stage['stage']} {_model(stage)}".strip()
        found.stages.append(
            (name, tuple(float(stage.get(f"{part}_seconds") or 0.0) for part in SECONDS_KINDS))
        )
    found.lengths = _sums(events, lambda record: tuple(record.get("lengths") or ()))
    found.truncated = _sums(events, _truncated)
    return found


def _truncated(record: dict[str, Any]) -> Counts:
    """Return the truncated rows and all rows of a model; older versions did not count them."""
    rows, truncated = record.get("rows"), record.get("truncated_rows")
    return () if rows is None or truncated is None else (truncated, rows)


def _sums(events: list[dict[str, Any]], counts_of: Callable[[dict[str, Any]], Counts]) -> dict[str, Counts]:
    """Add up the last counts of each run's pools; a killed run counts up to its last event."""
    runs: list[dict[str, Counts]] = []
    for event in events:
        if event["event"] == "start":
            runs.append({})
        for record in [*(event.get("pools") or []), *(event.get("stages") or [])]:
            if runs and (counts := counts_of(record)):
                runs[-1][_model(record)] = counts
    models = dict.fromkeys(model for run in runs for model in run)
    return {model: sum_counts(run[model] for run in runs if model in run) for model in models}


def _model(record: dict[str, Any]) -> str:
    return str(record.get("model") or "")


def _events(lines: Iterable[bytes]) -> Iterable[dict[str, Any]]:
    for line in lines:
        with suppress(ValueError, TypeError, KeyError):
            event = orjson.loads(line)
            float(event["time"]), event["event"]
            yield event


def _throughput(events: list[dict[str, Any]]) -> list[Series]:
    """Return tokens per second between neighbouring progress events of one run."""
    points: list[tuple[float, float]] = []
    time, tokens = 0.0, 0
    for event in events:
        if event["event"] == "start":
            time, tokens = event["time"], 0
            points.append((time, 0.0))
        elif event["event"] in ("progress", "finish") and event["time"] > time > 0:
            done = event["tokens"] if event["event"] == "progress" else None
            if done is not None:
                points.append((event["time"], max(0.0, (done - tokens) / (event["time"] - time))))
                time, tokens = event["time"], done
    return [Series("tokens per second", tuple(points))] if len(points) > 1 else []


def _pools(events: list[dict[str, Any]], names: tuple[str, ...]) -> list[Series]:
    """Return the sum of these fields over time, by model."""
    points: dict[str, dict[float, float]] = {}
    for event in events:
        if event["event"] == "progress":
            for pool in event.get("pools") or []:
                value = sum(float(pool.get(name) or 0) for name in names)
                points.setdefault(_model(pool), {})[event["time"]] = value
    return [Series(name, tuple(found.items())) for name, found in points.items()]


def _mark(event: dict[str, Any]) -> Mark:
    if event["event"] == "scaling":
        change = f"{event.get('before')} to {event.get('after')} workers"
        text = f"{_model(event)}: {change}, {event.get('reason')}"
    elif event["event"] == "worker_note":
        text = f"{_model(event)}: a worker {event.get('note')}"
    else:
        text = f"{event['event'].replace('_', ' ')}: {event.get('reason')}"
    return Mark(event["time"], text)
