"""What `dtype: auto` was measured to mean on this machine: once, and the same for every job after.

Two dtypes whose speeds lie near the limit would be measured one way today and the other way tomorrow, and
the same settings would then give other bytes.
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
from corpusmill.pipeline.checkpoint_cache import cache_folder, turn
from corpusmill.pipeline.cpus import processor


def measured_once(width: int, dtypes: Sequence[str]) -> DtypeChoice:
    """Return the choice among dtypes for products of this width, measured if it was not yet.

    Processes of a node take turns, so all return what the first one measured. Where the cache cannot be
    written, the choice holds for this call alone.
    """
    question = {"processor": _processor(), "threads": torch.get_num_threads(), "torch": torch.__version__}
    question |= {"width": width, "dtypes": list(dtypes)}
    name = hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()[:16]
    path = cache_folder() / "measured" / f"{name}.json"
    try:
        with turn(path.with_name(".lock")):
            return _kept(path, dtypes) or _keep(path, question, measure(width, dtypes))
    except OSError:
        return _kept(path, dtypes) or measure(width, dtypes)


def _kept(path: Path, dtypes: Sequence[str]) -> DtypeChoice | None:
    """Return what was measured before; None also for a damaged record."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        dtype, reason, date = (str(found[key]) for key in ("dtype", "reason", "date"))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return DtypeChoice(dtype, f"{reason}, measured here on {date}") if dtype in dtypes else None


def _keep(path: Path, question: dict[str, Any], choice: DtypeChoice) -> DtypeChoice:
    answer = {"dtype": choice.dtype, "reason": choice.reason, "date": datetime.date.today().isoformat()}
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(question | answer, indent=1), encoding="utf-8")
    partial.replace(path)
    return choice


def _processor() -> str:
    """Return what tells this CPU from others: its name, and what it can do."""
    found = processor()
    digest = hashlib.sha256(" ".join(sorted(found.features)).encode()).hexdigest()[:16]
    return f"{found.name} {digest}"
