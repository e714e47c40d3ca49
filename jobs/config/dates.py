"""Absolute paths and the run date in a job: its meaning then depends on no folder and no day."""

import re
from datetime import date
from typing import Any

from corpusmill.jobs.config.schema import JobConfig
from corpusmill.jobs.errors import ConfigError, Problem
from corpusmill.pipeline.input.own_output import RUN_DATE
from corpusmill.pipeline.storage import absolute

_PLACEHOLDER = re.compile(r"\{\w*\}")


def with_run_date(config: JobConfig, run_date: date) -> JobConfig:
    """Return the job with `{run_date}` of its output path filled in."""
    return _with_output(config, config.output.path.replace(RUN_DATE, run_date.isoformat()))


def unknown_placeholder(path: str) -> str | None:
    """Return an unknown placeholder of an output path; None without one."""
    return next((placeholder for placeholder in _PLACEHOLDER.findall(path) if placeholder != RUN_DATE), None)


def check_placeholders(config: JobConfig, origin: str) -> None:
    """Refuse an output path with an unknown placeholder."""
    if unknown := unknown_placeholder(config.output.path):
        problem = Problem("output.path", f"expected {RUN_DATE} as the only placeholder, got {unknown}")
        raise ConfigError([problem], origin)


def is_dated(config: JobConfig) -> bool:
    """Return whether this job has one output per date."""
    return RUN_DATE in config.output.path


def with_absolute_paths(config: JobConfig) -> JobConfig:
    """Return the job with absolute local paths; relative ones start at the current folder."""
    models = [
        model.model_copy(update={"checkpoint": absolute(model.checkpoint)})
        if "://" not in model.checkpoint
        else model
        for model in config.models
    ]
    paths = [absolute(path) for path in config.input.path]
    changed: dict[str, Any] = {
        "models": models,
        "input": config.input.model_copy(update={"path": paths}),
    }
    return _with_output(config.model_copy(update=changed), absolute(config.output.path))


def local_paths(config: JobConfig) -> list[str]:
    """Return the inputs, checkpoints and output that are paths of a file system."""
    paths = [*config.input.path, *(model.checkpoint for model in config.models), config.output.path]
    return [path for path in paths if "://" not in path]


def parse_date(text: str) -> date:
    """Return a date written as 2026-11-26; anything else is a ConfigError."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        problem = Problem("--run-date", f"expected a date such as 2026-11-26, got {text!r}")
        raise ConfigError([problem]) from None


def _with_output(config: JobConfig, path: str) -> JobConfig:
    return config.model_copy(update={"output": config.output.model_copy(update={"path": path})})
