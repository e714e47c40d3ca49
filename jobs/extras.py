"""Libraries that only some commands need; they are imported at their first use."""

import importlib
from pathlib import Path
from typing import Any

from corpusmill.jobs.errors import ConvertError, EvaluateError
from corpusmill.pipeline.errors import CorpusmillError

# Per group of pyproject.toml: the error if a library is missing, and its message.
_MISSING: dict[str, tuple[type[CorpusmillError], str]] = {
    "convert": (
        ConvertError,
        "{where}reading this file needs {module}: pip install 'corpusmill[convert]', or pip install {module}",
    ),
    "evaluate": (
        EvaluateError,
        "evaluating needs scikit-learn: pip install 'corpusmill[evaluate]', or pip install scikit-learn",
    ),
}


def extra(module: str, group: str, *, file: Path | None = None) -> Any:
    """Return a module of an optional group, or raise an error with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        failure, message = _MISSING[group]
        where = f"{file}: " if file else ""
        library = module.partition(".")[0]
        raise failure(message.format(where=where, library=library, module=module, error=error)) from None
