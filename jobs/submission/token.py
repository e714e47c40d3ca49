"""The token that a Ray head asks for by default, from where Ray itself looks for it."""

import os
from contextlib import suppress
from pathlib import Path


def token_headers() -> dict[str, str]:
    """Return the HTTP header with this user's token; none where there is no token, or RAY_AUTH_MODE=disabled.

    The client of Ray's Jobs API sends it only where RAY_AUTH_MODE=token is set, which a head started with
    defaults does for itself but nobody does for its users.
    """
    token = os.environ.get("RAY_AUTH_TOKEN") or _from_file()
    if not token or os.environ.get("RAY_AUTH_MODE") == "disabled":
        return {}
    return {"Authorization": f"Bearer {token}"}


def _from_file() -> str:
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    with suppress(OSError):
        return path.read_text(encoding="utf-8").strip()
    return ""
