"""What a policy has to know and nobody says: rates and start-up times, from what was seen."""

from collections import deque

FIRST_STARTUP = 10.0
"""Seconds that a start is taken to need until one was seen."""
UNITS = 64
"""Units after which what was seen before counts for a third."""
UNBLOCKED = 300.0
"""Seconds of a source at work after which what was seen before counts for a third."""
HELD_BACK = 0.02
"""Part of the time without room from which on a source counts as held back."""


class WorkMeter:
    """What one worker does in a second, as a mean over all workers' last units."""

    def __init__(self) -> None:
        self._tokens = self._seconds = 0.0

    def note(self, tokens: int, seconds: float) -> None:
        """Note a unit that a worker has done; a part of one says nothing sure of its tokens: leave it out."""
        kept = 1 - 1 / UNITS
        self._tokens = kept * self._tokens + tokens
        self._seconds = kept * self._seconds + seconds

    @property
    def rate(self) -> float | None:
        """Tokens per second; None before the first unit."""
        return self._tokens / self._seconds if self._tokens and self._seconds > 0 else None


class StartMeter:
    """How long a worker takes to start."""

    def __init__(self) -> None:
        self._seconds: float | None = None

    def note(self, seconds: float) -> None:
        """Note a start."""
        self._seconds = seconds if self._seconds is None else 0.7 * self._seconds + 0.3 * seconds

    @property
    def seconds(self) -> float:
        """Seconds of a start, the latest counting most."""
        return FIRST_STARTUP if self._seconds is None else self._seconds


class FlowMeter:
    """What comes from upstream: how much lately, how much if there were room, and whether room is missing."""

    def __init__(self, window: float, now: float) -> None:
        self._window = window
        self._seen: deque[tuple[float, int]] = deque()
        self._in_window = 0
        self._at = now
        self._tokens = self._seconds = 0.0
        self._blocked_share = 0.0

    def note(self, now: float, tokens: int) -> None:
        """Note a unit that came."""
        self._seen.append((now, tokens))
        self._in_window += tokens
        self._tokens += tokens

    def pass_time(self, now: float, blocked: float) -> None:
        """Note the time since the last call, and for how many of its seconds there was no room."""
        passed = now - self._at
        if passed <= 0:
            return
        self._at = now
        free = max(passed - blocked, 0.0)
        kept = max(0.0, 1 - free / UNBLOCKED)
        self._tokens, self._seconds = kept * self._tokens, kept * self._seconds + free
        weight = min(1.0, passed / 10)
        self._blocked_share += weight * (min(blocked / passed, 1.0) - self._blocked_share)
        while self._seen and self._seen[0][0] <= now - self._window:
            self._in_window -= self._seen.popleft()[1]

    @property
    def arrival_rate(self) -> float:
        """Tokens per second over the window; what is left of it before the first note counts as empty."""
        return self._in_window / self._window

    @property
    def feed_rate(self) -> float | None:
        """Tokens per second of unblocked time, where the source is held back; else None."""
        if self._blocked_share < HELD_BACK or self._seconds <= 0 or not self._tokens:
            return None
        return self._tokens / self._seconds
