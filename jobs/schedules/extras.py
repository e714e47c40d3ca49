"""The libraries that only schedules need."""

import importlib
from typing import Any

from corpusmill.jobs.schedules.problems import ScheduleError


def extra(module: str) -> Any:
    """Return a module of APScheduler, or an error with the command that installs it."""
    try:
        importlib.import_module("sqlalchemy")
        return importlib.import_module(module)
    except ImportError as error:
        raise ScheduleError(
            f"schedules need APScheduler and SQLAlchemy ({error}): pip install 'corpusmill[schedule]'"
        ) from None
