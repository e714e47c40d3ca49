"""The messages of an engine to its caller: outcomes of units and workers, and the state of the pools."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ray.util.metrics import Counter, Gauge

from corpusmill.pipeline.encode.batches import Counts
from corpusmill.pipeline.engine.stage_times import StageTimes
from corpusmill.pipeline.input.planning import Pending
from corpusmill.pipeline.output.receipts import Receipt


@dataclass(frozen=True, slots=True)
class UnitFailure:
    """A unit that could not be finished, and why; nothing of it was committed."""

    unit: str
    reason: str


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """A worker that had to be replaced: why, and the unit that it computed, if any."""

    model: str
    pid: int
    reason: str
    unit: str | None


@dataclass(frozen=True, slots=True)
class WorkerNote:
    """A note of a worker that has started, for the user."""

    model: str
    pid: int
    note: str


@dataclass(frozen=True, slots=True)
class Scaling:
    """A pool's new target, its former target, and the figures and the reason of the decision."""

    model: str
    before: int
    after: int
    workers: int
    starting: int
    queued_tokens: int
    in_flight_tokens: int
    tokens_per_second: float | None
    startup_seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class PoolState:
    """A model's pool at one moment, and its queue.

    `workers` are ready. `draining` workers finish what they hold and end. `pids` are those of the ready
    workers. `queued_tokens`, `in_flight_tokens`, `done_tokens` and `left_tokens` count tokens without special
    tokens and without the overlap of windows. `left_tokens` are queued, or expected from the units read so
    far; None before the first unit. `tokens` and `tokens_per_second` (of the last seconds) count the tokens
    of the encoded sequences; `lengths` counts these sequences by length. `rows` have a result, and
    `truncated_rows` of them were truncated. `waiting_share` is the part of the
    workers' recent time in which they waited.
    """

    model: str
    queued_tokens: int
    workers: int
    starting: int
    queued_units: int = 0
    in_flight_tokens: int = 0
    draining: int = 0
    target: int = 1
    min_workers: int = 1
    max_workers: int = 1
    tokens: int = 0
    tokens_per_second: float = 0.0
    waiting_share: float = 0.0
    done_tokens: int = 0
    left_tokens: int | None = None
    pids: tuple[int, ...] = ()
    lengths: Counts = ()
    rows: int = 0
    truncated_rows: int = 0


@dataclass(frozen=True, slots=True)
class EngineState:
    """All pools at one moment; the tokens encoded and the rows read so far, committed or not."""

    pools: tuple[PoolState, ...] = field(default=())
    encoded_tokens: int = 0
    rows_read: int = 0


Outcome = Receipt | UnitFailure | WorkerLost | WorkerNote | Scaling | None
"""None is a heartbeat: nothing is new, and the caller can show progress or stop."""


class Engine(Protocol):
    """An executor of pending splits; it yields one Receipt or UnitFailure per unit, in any order."""

    def run(self, pending: Sequence[Pending]) -> Generator[Outcome, None, None]:
        """Process the units; closing the iterator commits the complete units and stops the work."""

    def state(self) -> EngineState:
        """Return the state of all pools now."""

    def times(self) -> tuple[StageTimes, ...]:
        """Return the times of the stages, in order."""

    @property
    def worker_seconds(self) -> float:
        """The seconds of all encoders, from their request to their end."""


class Gauges:
    """The state of the pools as metrics `ray_corpusmill_...`, for Ray's Prometheus exporter."""

    def __init__(self) -> None:
        by = ("model",)
        self._queued = Gauge("corpusmill_queued_tokens", "Tokens that wait for the model.", by)
        self._workers = Gauge("corpusmill_workers", "Workers that hold the model.", by)
        self._starting = Gauge("corpusmill_starting_workers", "Workers that are loading the model.", by)
        self._tokens = Counter("corpusmill_encoded_tokens", "Tokens that all models have encoded.")
        self._seen = 0

    def publish(self, state: EngineState) -> EngineState:
        """Set the gauges, count what is new, and return the state."""
        for pool in state.pools:
            tags = {"model": pool.model}
            self._queued.set(pool.queued_tokens, tags)
            self._workers.set(pool.workers, tags)
            self._starting.set(pool.starting, tags)
        if state.encoded_tokens > self._seen:
            self._tokens.inc(state.encoded_tokens - self._seen)
            self._seen = state.encoded_tokens
        return state
