"""How long a worker may take for a unit before it counts as hanging."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """At least `floor` seconds, and `factor` times what the slowest worker would take.

    Wide on purpose: a slow machine must never trip it, and a worker that hangs does so for good.
    """

    floor: float = 120.0
    factor: float = 20.0

    def limit(self, tokens: int, *, measured: float | None, assumed: float) -> float:
        """Return seconds for so many tokens.

        `measured` is the rate (tokens per second) of the slowest worker so far; until there is one, `assumed`
        is a rate that is slower than any machine's.
        """
        expected = tokens / assumed if measured is None else self.factor * tokens / measured
        return max(self.floor, expected)


ENOUGH = 1.0
"""Seconds of work from which on a worker's rate is believed."""


class Pace:
    """How fast a pool's workers have been, in tokens as the queue counts them, and what to expect of one.

    `assumed` is a rate (tokens per second) slower than any machine's, for as long as nothing is measured.
    """

    def __init__(self, patience: Patience, assumed: float) -> None:
        self._patience = patience
        self._assumed = assumed
        self._done: dict[int, tuple[int, float]] = {}
        self._slowest: float | None = None

    def note(self, pid: int, tokens: int, seconds: float) -> None:
        """Note that a worker did so much."""
        before = self._done.get(pid, (0, 0.0))
        self._done[pid] = tokens, seconds = before[0] + tokens, before[1] + seconds
        if tokens and seconds >= ENOUGH:
            rate = tokens / seconds
            self._slowest = rate if self._slowest is None else min(self._slowest, rate)

    def limit(self, tokens: int) -> float:
        """Return the seconds after which a worker hangs that has been at so many tokens."""
        return self._patience.limit(tokens, measured=self._slowest, assumed=self._assumed)
