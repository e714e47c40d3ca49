"""What an output that was begun already says of its own job."""

import json

from corpusmill.pipeline.errors import CorpusmillError
from corpusmill.pipeline.output import OutputFolder

FINGERPRINT = "fingerprint.json"


def recorded_dtypes(output: str) -> dict[int, str]:
    """Return the dtypes that an output's models were begun with, by number; none without a record.

    A record that cannot be read says nothing here: continuing the output will say what is wrong with it.
    """
    folder = OutputFolder.of(output, "arrow")
    path = folder.job(FINGERPRINT)
    try:
        found = json.loads(folder.read(path)) if folder.exists(path) else {}
        keys = {i: f"models[{i}].dtype" for i in range(int(found.get("models", 0)))}
        return {i: str(found[key]) for i, key in keys.items() if key in found}
    except (ValueError, KeyError, TypeError, AttributeError, OSError, CorpusmillError):
        return {}
