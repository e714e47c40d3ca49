"""How a run stands at one moment: what is shown, written as a `progress` event, and read back by `status`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from corpusmill.pipeline.engine.outcomes import PoolState


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


def _pool(written: Mapping[str, Any]) -> PoolState:
    known = {field.name for field in fields(PoolState)}
    found: dict[str, Any] = {k: v for k, v in written.items() if k in known}
    return PoolState(**found | {"lengths": tuple(found.get("lengths", ()))})
