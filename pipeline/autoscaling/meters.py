"""Measurements for the policy: rates of workers and of the source, and start-up times."""

from collections import deque

FIRST_STARTUP = 10.0
"""Seconds assumed for a start before the first one is measured."""
UNITS = 64
"""Number of units after which earlier measurements count for about a third."""
UNBLOCKED = 300.0
"""Seconds of reading after which earlier measurements count for about a third."""
HELD_BACK = 0.02
"""Least share of the time without room at which a source counts as held back."""


class WorkMeter:
    """The rate of one worker, as a mean over the last units of all workers."""

    def __init__(self) -> None:
        self._tokens = self._seconds = 0.0

    def note(self, tokens: int, seconds: float) -> None:
        """Note a unit that a worker has done; not a part of one, whose tokens are an estimate."""
        kept = 1 - 1 / UNITS
        self._tokens = kept * self._tokens + tokens
        self._seconds = kept * self._seconds + seconds

    @property
    def rate(self) -> float | None:
        """Tokens per second; None before the first unit."""
        return self._tokens / self._seconds if self._tokens and self._seconds > 0 else None


class StartMeter:
    """The time that a worker takes to start."""

    def __init__(self) -> None:
        self._seconds: float | None = None

    def note(self, seconds: float) -> None:
        """Note a start."""
        self._seconds = seconds if self._seconds is None else 0.7 * self._seconds + 0.3 * seconds

    @property
    def seconds(self) -> float:
        """Seconds of a start; recent starts count most."""
        return FIRST_STARTUP if self._seconds is None else self._seconds


class FlowMeter:
    """The flow of tokens into a queue: its recent rate, and its rate in the time when there is room."""

    def __init__(self, window: float, now: float) -> None:
        self._window = window
        self._seen: deque[tuple[float, int]] = deque()
        self._in_window = 0
        self._at = now
        self._tokens = self._seconds = 0.0
        self._blocked_share = 0.0

    def note(self, now: float, tokens: int) -> None:
        """Note a unit that arrived."""
        self._seen.append((now, tokens))
        self._in_window += tokens
        self._tokens += tokens

    def pass_time(self, now: float, blocked: float) -> None:
        """Note the time since the last call, of which there was no room for `blocked` seconds."""
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
        """Tokens per second over the window; the part of the window before the first unit counts as empty."""
        return self._in_window / self._window

    @property
    def feed_rate(self) -> float | None:
        """Tokens per second of unblocked time if the source is held back; else None."""
        if self._blocked_share < HELD_BACK or self._seconds <= 0 or not self._tokens:
            return None
        return self._tokens / self._seconds
