"""How far a run is: the counts, and one line of them on standard error."""

import sys
import time
from collections.abc import Iterable, Sequence
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from corpusmill.pipeline.engine.outcomes import EngineState
from corpusmill.pipeline.receipts import Receipt
from corpusmill.pipeline.units import Split

LINE_INTERVAL = 10.0
"""Seconds between two lines where standard error is no terminal."""


class Tally:
    """Counts of a run. Rows count from the whole output, rates from this run alone.

    The expected number of rows is exact where the input's format states it (Parquet), else estimated from
    the length of each file's first lines.
    """

    def __init__(self, splits: Sequence[Split], before: Iterable[Receipt]) -> None:
        self.rows = self.rejected = self.units = 0
        self.rows_exact = all(split.rows is not None for split in splits)
        self._about_rows = sum(split.about_rows for split in splits)
        for receipt in before:
            self._count(receipt)
        self.rows_before = self.rows + self.rejected
        self.workers_peak = 0
        self.encoded_tokens = 0
        self._first_token: float | None = None
        self._now = time.monotonic()

    def add(self, receipt: Receipt) -> None:
        """Count a unit committed by this run."""
        self._count(receipt)

    def observe(self, state: EngineState) -> None:
        """Take note of the pools and of the tokens encoded."""
        self._now = time.monotonic()
        self.workers_peak = max(self.workers_peak, sum(pool.workers + pool.starting for pool in state.pools))
        self.encoded_tokens = state.encoded_tokens
        # The rate counts from when the first worker stands ready: start-up is no part of it.
        if self._first_token is None and any(pool.workers for pool in state.pools):
            self._first_token = self._now

    @property
    def tokens_per_second(self) -> float:
        """Tokens encoded by this run per second, all models together."""
        elapsed = self._now - self._first_token if self._first_token is not None else 0.0
        return self.encoded_tokens / elapsed if elapsed > 0 else 0.0

    @property
    def expected_rows(self) -> int:
        """Input rows in all, never fewer than were read."""
        return max(self._about_rows, self.rows + self.rejected)

    @property
    def seconds_left(self) -> float | None:
        """Seconds to go at this run's rate of rows; None before the first unit."""
        done = self.rows + self.rejected - self.rows_before
        if not done or self._first_token is None:
            return None
        return (self.expected_rows - self.rows - self.rejected) * (self._now - self._first_token) / done

    def _count(self, receipt: Receipt) -> None:
        self.rows += receipt.record.rows
        self.rejected += receipt.record.rejected
        self.units += 1


class Progress:
    """One line on standard error: redrawn on a terminal, repeated every LINE_INTERVAL seconds elsewhere."""

    def __init__(self, tally: Tally, *, enabled: bool) -> None:
        self.tally = tally
        self._console = Console(stderr=True, soft_wrap=True)
        self._enabled = enabled
        self._live = (
            Live(console=self._console, refresh_per_second=4, transient=True)
            if self._console.is_terminal and enabled
            else None
        )
        self._next_line = time.monotonic() + LINE_INTERVAL

    def show(self, state: EngineState) -> None:
        """Show how things stand."""
        self.tally.observe(state)
        if self._live is not None:
            self._live.update(Text(progress_line(self.tally, state), overflow="ellipsis", no_wrap=True))
        elif self._enabled and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + LINE_INTERVAL
            print(progress_line(self.tally, state), file=sys.stderr, flush=True)

    def __enter__(self) -> "Progress":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()


def progress_line(tally: Tally, state: EngineState) -> str:
    """Write rows, rate, time left, and per model the queue and the workers, on one line."""
    of = f" of {'' if tally.rows_exact else 'about '}{tally.expected_rows:,}"
    left = f", {_clock(tally.seconds_left)} left" if tally.seconds_left is not None else ""
    rejected = f", {tally.rejected:,} rejected" if tally.rejected else ""
    pools = "; ".join(
        f"{pool.model}: {pool.queued_tokens:,} tokens queued, "
        f"{pool.workers} worker{'s' * (pool.workers != 1)}"
        + (f" +{pool.starting} starting" if pool.starting else "")
        for pool in state.pools
    )
    return f"{tally.rows:,}{of} rows{rejected}, {tally.tokens_per_second:,.0f} tokens/s{left} | {pools}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
