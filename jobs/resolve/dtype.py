"""The meaning of `dtype: auto` on this machine: measured once, and the same for every later job.

If two dtypes are almost equally fast, each measurement could choose another one. Then the same settings would
give other bytes.
"""

import datetime
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from corpusmill.models import DtypeChoice
from corpusmill.models.precision import measure
from corpusmill.pipeline.checkpoints.cache import cache_folder, cache_lock
from corpusmill.pipeline.errors import CorpusmillError, OutputError
from corpusmill.pipeline.machine import processor
from corpusmill.pipeline.output.folder import OutputFolder
from corpusmill.pipeline.storage import locate

FINGERPRINT = "fingerprint.json"


def measured_once(width: int, dtypes: Sequence[str]) -> DtypeChoice:
    """Return the choice among dtypes for products of this width; measure it if it is not recorded.

    Processes of a node take turns, so all return the result of the first one. If the cache cannot be written,
    the choice holds for this call only.
    """
    conditions = {"processor": _processor(), "threads": torch.get_num_threads(), "torch": torch.__version__}
    conditions |= {"width": width, "dtypes": list(dtypes)}
    name = hashlib.sha256(json.dumps(conditions, sort_keys=True).encode()).hexdigest()[:16]
    path = cache_folder() / "measured" / f"{name}.json"
    try:
        with cache_lock(path.with_name(".lock")):
            return _read_record(path, dtypes) or _write_record(path, conditions, measure(width, dtypes))
    except OSError:
        return _read_record(path, dtypes) or measure(width, dtypes)


def _read_record(path: Path, dtypes: Sequence[str]) -> DtypeChoice | None:
    """Return the recorded choice; None without a record, or if it is damaged."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        dtype, reason, date = (str(record[key]) for key in ("dtype", "reason", "date"))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return DtypeChoice(dtype, f"{reason}, measured here on {date}") if dtype in dtypes else None


def _write_record(path: Path, conditions: dict[str, Any], choice: DtypeChoice) -> DtypeChoice:
    record = {"dtype": choice.dtype, "reason": choice.reason, "date": datetime.date.today().isoformat()}
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(conditions | record, indent=1), encoding="utf-8")
    partial.replace(path)
    return choice


def _processor() -> str:
    """Return an identity of this CPU: its name, and a digest of its features."""
    cpu = processor()
    digest = hashlib.sha256(" ".join(sorted(cpu.features)).encode()).hexdigest()[:16]
    return f"{cpu.name} {digest}"


# Records in an output that an earlier run has begun.


def recorded_dtypes(output: str) -> dict[int, str]:
    """Return the recorded dtypes of an output's models, by number; none without a record.

    A damaged record is no error here: `check_same_job` reports it.
    """
    folder = OutputFolder.of(output, "arrow")
    path = folder.job(FINGERPRINT)
    try:
        fingerprint = json.loads(folder.read(path)) if folder.exists(path) else {}
        keys = {i: f"models[{i}].dtype" for i in range(int(fingerprint.get("models", 0)))}
        return {i: str(fingerprint[key]) for i, key in keys.items() if key in fingerprint}
    except (ValueError, KeyError, TypeError, AttributeError, OSError, CorpusmillError):
        return {}


def check_output_folder(folder: OutputFolder) -> None:
    """Refuse a path that cannot be an output: a file, or a folder with other files.

    A folder with the record of a job is left to `check_same_job`.
    """
    fs, path = locate(folder.url)
    if folder.exists(folder.job(FINGERPRINT)):
        return
    if fs.isfile(path):
        raise OutputError(f"{folder.url}: expected a folder, got a file; choose another output.path").at(
            "output.path"
        )
    other_names = [name for name in folder.names("") if name != "_job"]
    if other_names:
        raise OutputError(
            f"{folder.url}: expected an empty folder or this job's own output, found "
            f"{', '.join(other_names[:3])}; choose another output.path"
        ).at("output.path")
