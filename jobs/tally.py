"""Counting a run: what is committed, how fast tokens go, and how long the rest will take."""

import time
from collections import deque
from collections.abc import Iterable, Sequence

from corpusmill.jobs.standing import Standing
from corpusmill.pipeline.engine.outcomes import EngineState
from corpusmill.pipeline.receipts import Receipt
from corpusmill.pipeline.units import Split

WINDOW = 60.0
"""Seconds over which the rate is taken that the time left is told from."""


class Tally:
    """Counts of a run. Rows count from the whole output, rates from this run alone.

    The expected number of rows is exact where the input's format states it (Parquet), else estimated from
    the length of each file's first lines.
    """

    def __init__(self, splits: Sequence[Split], before: Iterable[Receipt], now: float | None = None) -> None:
        self.rows = self.rejected = self.units = 0
        self.rows_exact = all(split.rows is not None for split in splits)
        self._about_rows = sum(split.about_rows for split in splits)
        for receipt in before:
            self.add(receipt)
        self.workers_peak = 0
        self._state = EngineState()
        self._began = self._now = time.monotonic() if now is None else now
        self._first_token: float | None = None
        self._seen: deque[tuple[float, tuple[int, ...]]] = deque()

    def add(self, receipt: Receipt) -> None:
        """Count a unit committed."""
        self.rows += receipt.record.rows
        self.rejected += receipt.record.rejected
        self.units += 1

    def observe(self, state: EngineState, now: float | None = None) -> None:
        """Take note of the pools and of the tokens encoded."""
        self._now = time.monotonic() if now is None else now
        self._state = state
        present = sum(pool.workers + pool.starting + pool.draining for pool in state.pools)
        self.workers_peak = max(self.workers_peak, present)
        # Rates count from when the first worker stands ready: start-up is no part of them.
        if self._first_token is None and any(pool.workers for pool in state.pools):
            self._first_token = self._now
        if self._first_token is not None:
            done = tuple(pool.done_tokens for pool in self._state.pools)
            self._seen.append((self._now, done))
        while len(self._seen) > 2 and self._now - self._seen[1][0] >= WINDOW:
            self._seen.popleft()

    @property
    def tokens_per_second(self) -> float:
        """Tokens encoded by this run per second, all models together."""
        elapsed = self._now - self._first_token if self._first_token is not None else 0.0
        return self._state.encoded_tokens / elapsed if elapsed > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Seconds to go: of the model that has most left at its rate in the last minute."""
        pools = self._state.pools
        if not pools or not self._seen:
            return None
        (then, before), (now, done) = self._seen[0], self._seen[-1]
        left = [pool.left_tokens for pool in pools]
        if None in left or any(tokens == 0 for tokens in done) or now <= then:
            return None
        rates = [(after - first) / (now - then) for first, after in zip(before, done, strict=True)]
        times = [
            tokens / rate if rate > 0 else None for tokens, rate in zip(left, rates, strict=True) if tokens
        ]
        return None if None in times else max((each for each in times if each is not None), default=0.0)

    def standing(self) -> Standing:
        """Return how things stand."""
        left = self.seconds_left
        return Standing(
            seconds=round(self._now - self._began, 1),
            rows=self.rows,
            rejected=self.rejected,
            units=self.units,
            rows_expected=max(self._about_rows, self.rows + self.rejected),
            rows_exact=self.rows_exact,
            rows_read=self._state.rows_read,
            tokens=self._state.encoded_tokens,
            tokens_expected=self._expected(),
            tokens_per_second=round(self.tokens_per_second, 1),
            seconds_left=None if left is None else round(left, 1),
            pools=self._state.pools,
        )

    def _expected(self) -> int | None:
        """Tokens of all models in the end, special ones and windows as in those that are done."""
        total = 0.0
        for pool in self._state.pools:
            if pool.left_tokens is None or not pool.done_tokens:
                return None
            total += pool.tokens * (1 + pool.left_tokens / pool.done_tokens)
        return round(total)
