"""The times of a run per stage: at work, waiting for input, blocked by output, starting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from corpusmill.pipeline.encode.batches import Counts, sum_counts
from corpusmill.pipeline.encode.encoded import EncodeStats


@dataclass(frozen=True, slots=True)
class StageTimes:
    """One stage's seconds, summed over its tasks or workers, and its units (docs/job-folder.md)."""

    stage: str
    model: str | None = None
    units: int = 0
    busy_seconds: float = 0.0
    waiting_seconds: float = 0.0
    blocked_seconds: float = 0.0
    startup_seconds: float = 0.0
    tokens: int | None = None
    tokens_per_second: float | None = None
    padding_share: float | None = None
    product_share: float | None = None
    lengths: Counts | None = None
    rows: int | None = None
    truncated_rows: int | None = None

    def rounded(self) -> "StageTimes":
        """Return rounded times: milliseconds, tenths of a token per second, three digits of a share."""
        rate = self.tokens / self.busy_seconds if self.tokens is not None and self.busy_seconds > 0 else None
        return replace(
            self,
            busy_seconds=round(self.busy_seconds, 3),
            waiting_seconds=round(self.waiting_seconds, 3),
            blocked_seconds=round(self.blocked_seconds, 3),
            startup_seconds=round(self.startup_seconds, 3),
            tokens_per_second=None if rate is None else round(rate, 1),
            product_share=None if self.product_share is None else float(f"{self.product_share:.3g}"),
        )


class UnitClock:
    """The sums of the seconds of reading, tokenizing and committing, which the tasks report."""

    def __init__(self) -> None:
        self._seconds = {"read": 0.0, "tokenize": 0.0, "commit": 0.0}
        self._units = {"read": 0, "tokenize": 0, "commit": 0}
        self._tokens = 0
        self._first: float | None = None

    def unit_arrived(self, seconds: Mapping[str, float], tokens: int, since_start: float) -> None:
        """Note a unit that was read and tokenized, `since_start` seconds after the run began."""
        self._first = since_start if self._first is None else self._first
        self._tokens += tokens
        for stage, add in seconds.items():
            self.add(stage, add)

    def add(self, stage: str, seconds: float) -> None:
        """Add the seconds of a stage for one unit."""
        self._seconds[stage] += seconds
        self._units[stage] += 1

    def times(self, encoding: Sequence[StageTimes], blocked: float) -> tuple[StageTimes, ...]:
        """Return the times of all stages; `blocked` are the seconds in which the source had no room."""
        read, tokenize, commit = (
            StageTimes(stage, units=self._units[stage], busy_seconds=add)
            for stage, add in self._seconds.items()
        )
        read = replace(read, blocked_seconds=blocked, startup_seconds=self._first or 0.0)
        tokenize = replace(tokenize, blocked_seconds=blocked, tokens=self._tokens)
        return tuple(stage.rounded() for stage in (read, tokenize, *encoding, commit))


class EncodeClock:
    """The sums of one pool's times: the seconds that its workers report, and those in which they wait."""

    def __init__(self, model: str) -> None:
        self.model = model
        self._at: float | None = None
        self._busy = self._waiting = self._blocked = self._startup = 0.0
        self._units = self.tokens = self.rows = self.truncated_rows = 0
        self._flops = self._product_rate = 0.0
        self.lengths: Counts = ()
        self.worker_seconds = 0.0
        self.waiting_share = 0.0

    def started(self, seconds: float, product_rate: float) -> None:
        """Note a worker's start, and its device's rate in plain matrix products (0: not measured)."""
        self._startup += seconds
        self._product_rate = max(self._product_rate, product_rate)

    def worked(self, stats: EncodeStats) -> None:
        """Note a work item that was encoded."""
        self.lengths = sum_counts((self.lengths, stats.lengths))
        self.tokens += stats.tokens
        self.rows += stats.rows
        self.truncated_rows += stats.truncated_rows
        self._busy += stats.seconds
        self._flops += stats.flops

    def unit_done(self) -> None:
        """Note a unit whose last work item this pool has done."""
        self._units += 1

    def pass_time(self, now: float, *, workers: int, ready: int, idle: int, blocked: bool) -> None:
        """Note the number of workers since the last call, and how many of them were idle.

        `blocked`: the idle workers wait because units of other stages fill the room for open units.
        """
        passed = 0.0 if self._at is None else now - self._at
        self._at = now
        self.worker_seconds += workers * passed
        if blocked:
            self._blocked += idle * passed
        else:
            self._waiting += idle * passed
        share = idle / ready if ready else 0.0
        self.waiting_share += min(1.0, passed / 10) * (share - self.waiting_share)

    @property
    def seconds(self) -> float:
        """The seconds of starting and working."""
        return self._startup + self._busy

    def times(self) -> StageTimes:
        """Return the sums as the times of the encode stage."""
        known = self._product_rate > 0 and self._busy > 0
        return StageTimes(
            "encode",
            self.model,
            self._units,
            self._busy,
            self._waiting,
            self._blocked,
            self._startup,
            self.tokens,
            padding_share=0.0,
            product_share=self._flops / self._busy / self._product_rate if known else None,
            lengths=self.lengths or None,
            rows=self.rows,
            truncated_rows=self.truncated_rows,
        )
