"""Libraries that only evaluations need."""

import importlib
from typing import Any

from corpusmill.jobs.evaluate.problems import EvaluateError


def extra(name: str) -> Any:
    """Return a module of scikit-learn, or of scipy that comes with it, or say how to install them."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise EvaluateError(
            "evaluating needs scikit-learn: pip install 'corpusmill[evaluate]', or pip install scikit-learn"
        ) from None
