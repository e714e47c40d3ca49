"""Libraries that only comparisons need."""

import importlib
from typing import Any

from corpusmill.jobs.bench.problems import BenchError


def extra(name: str) -> Any:
    """Return a module of another engine, or say how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise BenchError(
            f"comparing with other engines needs {name.partition('.')[0]}: pip install 'corpusmill[bench]'"
        ) from None
