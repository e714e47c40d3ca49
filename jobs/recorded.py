"""What an output that was begun already says of its own job."""

import json
from typing import Any

from corpusmill.pipeline.errors import CorpusmillError
from corpusmill.pipeline.output import OutputFolder

FINGERPRINT = "fingerprint.json"


def recorded_dtypes(output: str) -> dict[int, dict[str, str]]:
    """Return the dtypes that an output's models were begun with, by number and pool; none without a record.

    A record that cannot be read says nothing here: continuing the output will say what is wrong with it.
    """
    folder = OutputFolder.of(output, "arrow")
    path = folder.job(FINGERPRINT)
    try:
        found = json.loads(folder.read(path)) if folder.exists(path) else {}
        return {i: _dtypes(found, f"models[{i}].") for i in range(int(found.get("models", 0)))}
    except (ValueError, KeyError, TypeError, AttributeError, OSError, CorpusmillError):
        return {}


def _dtypes(found: dict[str, Any], model: str) -> dict[str, str]:
    """Return a model's dtype under "", or those of its several pools under their labels."""
    if f"{model}dtype" in found:
        return {"": str(found[f"{model}dtype"])}
    pools = f"{model}pools."
    return {
        name.removeprefix(pools): str(part["dtype"]) for name, part in found.items() if name.startswith(pools)
    }
