"""Counting a run: what is committed, how fast tokens go, and how long the rest will take."""

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from corpusmill.pipeline.engine.messages import EngineState, PoolState
from corpusmill.pipeline.input.units import Split
from corpusmill.pipeline.output.receipts import Receipt

WINDOW = 60.0
"""Seconds over which the rate is taken that the time left is told from."""

# How a run stands at one moment: what is shown, written as a `progress` event, and read back by `status`.


@dataclass(frozen=True, slots=True)
class Standing:
    """Counts of a run (docs/job-folder.md): rows of the whole output, tokens and rates of this run alone.

    `seconds_left` is that of the model with most left: its tokens that wait or are still to come, at its
    rate of the last minute; None while one of them is unknown.
    """

    seconds: float
    rows: int
    rejected: int
    units: int
    rows_expected: int
    rows_exact: bool
    rows_read: int
    tokens: int
    tokens_expected: int | None
    tokens_per_second: float
    seconds_left: float | None
    pools: tuple[PoolState, ...]

    def to_event(self) -> dict[str, Any]:
        """Return the fields of the event; process ids mean nothing elsewhere, and there may be a thousand."""
        pools = [{k: v for k, v in asdict(pool).items() if k != "pids"} for pool in self.pools]
        return {**asdict(self), "pools": pools}

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> "Standing":
        """Read an event back; a field that a later version added is left out."""
        known = {field.name for field in fields(cls)}
        pools = tuple(map(_pool, event["pools"]))
        return cls(**{k: v for k, v in event.items() if k in known and k != "pools"}, pools=pools)


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


def _pool(written: Mapping[str, Any]) -> PoolState:
    known = {field.name for field in fields(PoolState)}
    found: dict[str, Any] = {k: v for k, v in written.items() if k in known}
    return PoolState(**found | {"lengths": tuple(found.get("lengths", ()))})
