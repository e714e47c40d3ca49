"""The folder of this user's submissions and schedules; it is part of no output."""

import os
from pathlib import Path

VARIABLE = "CORPUSMILL_STATE"


def state_folder() -> Path:
    """Return $CORPUSMILL_STATE, else corpusmill's folder in the user's state folder; it may not exist yet."""
    chosen = os.environ.get(VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "corpusmill"
