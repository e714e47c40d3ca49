"""Jobs: a validated configuration, and running, planning and verifying it.

    from corpusmill.jobs import JobConfig, run
    result = run(JobConfig.from_yaml("job.yaml"))

Names are imported when they are first used: `corpusmill --help` must not wait for torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from corpusmill.jobs.config.schema import JobConfig
    from corpusmill.jobs.driver.result import RunResult
    from corpusmill.jobs.driver.runner import run
    from corpusmill.jobs.errors import ConfigError, Problem
    from corpusmill.jobs.resolve.model import model_spec

__all__ = ["ConfigError", "JobConfig", "Problem", "RunResult", "model_spec", "run"]

_HOMES = {
    "ConfigError": "errors",
    "JobConfig": "config.schema",
    "Problem": "errors",
    "RunResult": "driver.result",
    "model_spec": "resolve.model",
    "run": "driver.runner",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
