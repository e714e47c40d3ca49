"""What an output that was begun already says of its own job."""

import json

from corpusmill.pipeline.errors import CorpusmillError, OutputError
from corpusmill.pipeline.output import OutputFolder
from corpusmill.pipeline.storage import locate

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


def check_place(folder: OutputFolder) -> None:
    """Refuse a place where no output can be: a file, a folder of something else, one without write access.

    A folder with a job's record is left to `check_same_job`.
    """
    fs, path = locate(folder.url)
    if folder.exists(folder.job(FINGERPRINT)):
        return
    if fs.isfile(path):
        raise OutputError(f"{folder.url}: expected a folder, got a file; choose another output.path").at(
            "output.path"
        )
    strangers = [name for name in folder.names("") if name != "_job"]
    if strangers:
        raise OutputError(
            f"{folder.url}: expected an empty folder or this job's own output, found "
            f"{', '.join(strangers[:3])}; choose another output.path"
        ).at("output.path")
