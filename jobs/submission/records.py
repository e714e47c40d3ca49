"""What was submitted from here: a note per submission, which outlives the cluster."""

import json
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from corpusmill.jobs.state import state_folder

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Submission:
    """A job sent to a cluster: under which id, where to, and where its output is."""

    id: str
    job: str
    address: str
    output: str
    submitted: float


def note(submission: Submission) -> None:
    """Remember a submission."""
    path = _path(submission.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(submission), indent=1) + "\n", encoding="utf-8")


def find(submission: str) -> Submission | None:
    """Return the note of a submission; None where it was made elsewhere, or the note is damaged."""
    if not NAME.fullmatch(submission):
        return None
    with suppress(OSError, ValueError, TypeError):
        return Submission(**json.loads(_path(submission).read_text(encoding="utf-8")))
    return None


def _path(submission: str) -> Path:
    return state_folder() / "submissions" / f"{submission}.json"
