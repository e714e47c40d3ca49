"""The counts of a run: committed rows, the rate of tokens, and the time left."""

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from corpusmill.pipeline.engine.messages import EngineState, PoolState
from corpusmill.pipeline.input.units import Split
from corpusmill.pipeline.output.receipts import Receipt

RATE_WINDOW = 60.0
"""Seconds over which the rate is measured for the time left."""

# The progress of a run at one moment: shown, written as a `progress` event, and read by `status`.


@dataclass(frozen=True, slots=True)
class RunProgress:
    """The counts of a run (docs/job-folder.md): rows of the whole output, tokens and rates of this run only.

    `seconds_left` is the time of the slowest model: its tokens left, queued or still to come, divided by its
    rate in the last minute; None while one of these is unknown.
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
        """Return the fields of the event, without process ids: they mean nothing on another machine."""
        pools = [{k: v for k, v in asdict(pool).items() if k != "pids"} for pool in self.pools]
        return {**asdict(self), "pools": pools}

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> "RunProgress":
        """Read an event; skip the fields of later versions."""
        known = {field.name for field in fields(cls)}
        pools = tuple(map(_pool_state, event["pools"]))
        return cls(**{k: v for k, v in event.items() if k in known and k != "pools"}, pools=pools)


class Tally:
    """A running count: rows of the whole output, rates of this run only.

    The expected number of rows is exact where the input's format states it (Parquet), else estimated from
    the length of each file's first lines.
    """

    def __init__(
        self, splits: Sequence[Split], committed: Iterable[Receipt], now: float | None = None
    ) -> None:
        self.rows = self.rejected = self.units = 0
        self.rows_exact = all(split.rows is not None for split in splits)
        self._about_rows = sum(split.about_rows for split in splits)
        for receipt in committed:
            self.add(receipt)
        self.workers_peak = 0
        self._state = EngineState()
        self._began = self._now = time.monotonic() if now is None else now
        self._ready_since: float | None = None
        self._samples: deque[tuple[float, tuple[int, ...]]] = deque()

    def add(self, receipt: Receipt) -> None:
        """Count a committed unit."""
        self.rows += receipt.record.rows
        self.rejected += receipt.record.rejected
        self.units += 1

    def observe(self, state: EngineState, now: float | None = None) -> None:
        """Record the state of the pools and the encoded tokens."""
        self._now = time.monotonic() if now is None else now
        self._state = state
        present = sum(pool.workers + pool.starting + pool.draining for pool in state.pools)
        self.workers_peak = max(self.workers_peak, present)
        # Rates are measured from the first ready worker on, without the start-up.
        if self._ready_since is None and any(pool.workers for pool in state.pools):
            self._ready_since = self._now
        if self._ready_since is not None:
            done = tuple(pool.done_tokens for pool in self._state.pools)
            self._samples.append((self._now, done))
        while len(self._samples) > 2 and self._now - self._samples[1][0] >= RATE_WINDOW:
            self._samples.popleft()

    @property
    def tokens_per_second(self) -> float:
        """The tokens per second of this run, all models together."""
        elapsed = self._now - self._ready_since if self._ready_since is not None else 0.0
        return self._state.encoded_tokens / elapsed if elapsed > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """The seconds left, of the model that takes longest at its rate in the last minute."""
        pools = self._state.pools
        if not pools or not self._samples:
            return None
        (then, before), (now, done) = self._samples[0], self._samples[-1]
        left = [pool.left_tokens for pool in pools]
        if None in left or any(tokens == 0 for tokens in done) or now <= then:
            return None
        rates = [(after - first) / (now - then) for first, after in zip(before, done, strict=True)]
        times = [
            tokens / rate if rate > 0 else None for tokens, rate in zip(left, rates, strict=True) if tokens
        ]
        return None if None in times else max((each for each in times if each is not None), default=0.0)

    def progress(self) -> RunProgress:
        """Return the progress at this moment."""
        left = self.seconds_left
        return RunProgress(
            seconds=round(self._now - self._began, 1),
            rows=self.rows,
            rejected=self.rejected,
            units=self.units,
            rows_expected=max(self._about_rows, self.rows + self.rejected),
            rows_exact=self.rows_exact,
            rows_read=self._state.rows_read,
            tokens=self._state.encoded_tokens,
            tokens_expected=self._tokens_expected(),
            tokens_per_second=round(self.tokens_per_second, 1),
            seconds_left=None if left is None else round(left, 1),
            pools=self._state.pools,
        )

    def _tokens_expected(self) -> int | None:
        """Return the expected tokens of all models, with special tokens and windows as in the done ones."""
        total = 0.0
        for pool in self._state.pools:
            if pool.left_tokens is None or not pool.done_tokens:
                return None
            total += pool.tokens * (1 + pool.left_tokens / pool.done_tokens)
        return round(total)


def _pool_state(written: Mapping[str, Any]) -> PoolState:
    known = {field.name for field in fields(PoolState)}
    values: dict[str, Any] = {k: v for k, v in written.items() if k in known}
    return PoolState(**values | {"lengths": tuple(values.get("lengths", ()))})
