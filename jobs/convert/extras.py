"""Libraries that only conversions need."""

import importlib
from pathlib import Path
from typing import Any

from corpusmill.jobs.convert.problems import ConvertError


def extra(name: str, file: Path | None = None) -> Any:
    """The module of that name, or an error with the command that installs it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        where = f"{file}: " if file else ""
        raise ConvertError(
            f"{where}reading this file needs {name}: pip install 'corpusmill[convert]', or pip install {name}"
        ) from None
