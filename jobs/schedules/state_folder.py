"""Where this user's submissions and schedules are noted: a folder of the machine, of no output."""

import os
from pathlib import Path

VARIABLE = "CORPUSMILL_STATE"


def state_folder() -> Path:
    """Return $CORPUSMILL_STATE, else the user's own state folder for corpusmill; it may not be there yet."""
    chosen = os.environ.get(VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "corpusmill"
