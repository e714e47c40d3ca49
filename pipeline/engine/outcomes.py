"""What an engine tells its caller while it runs."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from corpusmill.pipeline.planning import Pending
from corpusmill.pipeline.receipts import Receipt


@dataclass(frozen=True, slots=True)
class UnitFailure:
    """A unit that could not be finished, and why; nothing of it was committed."""

    unit: str
    reason: str


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """A worker that had to be replaced: why, and the unit it was at, if any."""

    model: str
    pid: int
    reason: str
    unit: str | None


@dataclass(frozen=True, slots=True)
class PoolState:
    """A model's pool at one moment: tokens waiting in front of it, its workers, and their process ids."""

    model: str
    queued_tokens: int
    workers: int
    starting: int
    pids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineState:
    """All pools at one moment, and the tokens done so far, committed or not."""

    pools: tuple[PoolState, ...] = field(default=())
    encoded_tokens: int = 0


Outcome = Receipt | UnitFailure | WorkerLost | None
"""None is a heartbeat: nothing new, but a chance to show progress or to stop."""


class Engine(Protocol):
    """Runs what is pending; outcomes come in any order, one Receipt or UnitFailure per unit."""

    def run(self, pending: Sequence[Pending]) -> Generator[Outcome, None, None]:
        """Process the units; closing the iterator stops the work, once what is complete is committed."""

    def state(self) -> EngineState:
        """Return how things stand now."""
