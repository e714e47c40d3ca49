"""Workers that die or hang: the search for the rows at fault, the limits of restarts, the hang timeout.

A unit that ended several workers is cut into FAN_OUT work items. An item that ends a worker is cut into
FAN_OUT items again, down to single rows. A wide cut costs few deaths and many items: a death costs the start
of a worker, an item costs little. If a worker computes several items at once, each is first tried alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ray.exceptions import OutOfMemoryError, RayActorError, RayError

from corpusmill.pipeline.engine.work import WorkItem
from corpusmill.pipeline.errors import JobFailed

MAX_DEATHS_OF_A_UNIT = 3
"""Deaths after which a unit is suspected. Before that, another cause is likelier."""
MAX_DEATHS_OF_A_ROW = 2
"""Deaths of a row encoded alone after which it is refused."""
MAX_DEATHS_IN_A_UNIT = 64
"""Deaths after which a unit is given up. They suffice to find about twelve rows at fault."""
FAN_OUT = 16

MAX_FAILED_STARTS = 3
MAX_DEATHS = 20
"""Both per worker that the pool has at the time: the loss of a large node is no fault of the model."""


@dataclass(frozen=True, slots=True)
class Death:
    """The end of a worker: the reason, and whether its work item is certainly at fault."""

    reason: str
    certain: bool = False


DIED = Death("died")
OUT_OF_MEMORY = Death("was killed as its node had no memory left")


def death_of(error: RayError) -> Death:
    """Return the death of a worker whose call failed with this error."""
    return OUT_OF_MEMORY if isinstance(error, OutOfMemoryError) else DIED


def try_alone(items: Sequence[WorkItem], at_once: int) -> bool:
    """Mark the items that a dead worker computed to be tried alone; return False if there was only one."""
    computed = items[:at_once]
    if len(computed) < 2:
        return False
    for item in computed:
        item.alone = True
    return True


def retry(item: WorkItem, death: Death) -> list[WorkItem]:
    """Return the items to compute instead of one that ended its worker, in order; [] if its row is refused.

    A unit that is certainly at fault is cut at once.
    """
    item.deaths += 1
    item.result.deaths += 1
    if item.result.failed or item.result.deaths >= MAX_DEATHS_IN_A_UNIT:
        item.give_up(
            f"{item.result.deaths} workers died on its rows, the limit for one unit; the model or the memory "
            "of a worker is a likelier cause than single rows"
        )
        return []
    if item.rows > 1:
        wait = item.whole and not death.certain and item.deaths < MAX_DEATHS_OF_A_UNIT
        return [item] if wait else item.cut(FAN_OUT)
    limit = MAX_DEATHS_OF_A_UNIT if item.whole else MAX_DEATHS_OF_A_ROW
    return [item] if item.deaths < limit else _refuse(item, _death_reason(item, death))


def _death_reason(item: WorkItem, death: Death) -> str:
    why = death.reason if death.certain else f"ended its worker {item.deaths} times"
    return f"{why}, the last time as its node had no memory left" if death is OUT_OF_MEMORY else why


def _refuse(item: WorkItem, why: str) -> list[WorkItem]:
    """Refuse the item's only row.

    If every row of the unit is refused, return an item without rows: the unit's file needs the model's
    columns nevertheless.
    """
    if item.rows == 0:
        item.give_up(f"{why}, without any row")
        return []
    item.refuse(f"{why}, encoded alone")
    if item.result.open_items or item.result.columns:
        return []
    item.result.open_items = 1
    return [WorkItem(item.unit, item.result, 0, 0, item.unit_tokens)]


class RestartLimits:
    """The numbers of one model's deaths and failed starts in a row; JobFailed at the limits.

    A pool whose workers only ever die ends the job instead of starting them for ever. The limits grow with
    the workers that the pool has, not with those that it may have: on a machine of the job's own that would
    be one worker per CPU, and a broken model would be started again for much longer.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._deaths = self._failed_starts = 0

    def started(self) -> None:
        """Note that a worker has loaded the model."""
        self._failed_starts = 0

    def finished(self) -> None:
        """Note that a worker has finished a work item."""
        self._deaths = 0

    def died(self, workers: int) -> None:
        """Note that one of so many workers died at work."""
        self._deaths += 1
        if self._deaths >= MAX_DEATHS * workers:
            raise JobFailed(
                f"model {self._model}: {self._deaths} workers in a row died and none finished anything; is "
                "there enough memory for it? Run again with --debug to see the workers' own output"
            )

    def died_starting(self, error: RayError, workers: int) -> None:
        """Note that one of so many workers died before it had loaded the model."""
        if isinstance(error, RayActorError) and error.actor_init_failed:
            reason = str(error).strip().splitlines()[-1]
            raise JobFailed(f"model {self._model}: a worker could not load it: {reason}")
        self._failed_starts += 1
        if self._failed_starts >= MAX_FAILED_STARTS * workers:
            raise JobFailed(
                f"model {self._model}: {self._failed_starts} workers in a row died while loading; is there "
                "enough memory for the model? Run again with --debug to see the workers' own output"
            )


@dataclass(frozen=True, slots=True)
class HangTimeout:
    """The seconds that a worker may compute: `factor` times those of the slowest worker, at least `floor`.

    The timeout is generous: a slow machine must never reach it, and a worker that hangs never recovers.
    """

    floor: float = 120.0
    factor: float = 20.0

    def seconds(self, tokens: int, *, measured: float | None, assumed: float) -> float:
        """Return the seconds for so many tokens.

        `measured` is the rate (tokens per second) of the slowest worker so far, None before the first
        measurement. `assumed` is a rate that every machine exceeds.
        """
        expected = tokens / assumed if measured is None else self.factor * tokens / measured
        return max(self.floor, expected)


MEASURED_SECONDS = 1.0
"""Seconds of work after which a worker's rate is used."""


class SlowestWorker:
    """The rate of a pool's slowest worker, in tokens as the queue counts them, and the timeout from it.

    `assumed` is the rate (tokens per second) before the first measurement.
    """

    def __init__(self, timeout: HangTimeout, assumed: float) -> None:
        self._timeout = timeout
        self._assumed = assumed
        self._done: dict[int, tuple[int, float]] = {}
        self._rate: float | None = None

    def note(self, pid: int, tokens: int, seconds: float) -> None:
        """Note the tokens that a worker has computed, and the seconds that they took."""
        before = self._done.get(pid, (0, 0.0))
        self._done[pid] = tokens, seconds = before[0] + tokens, before[1] + seconds
        if tokens and seconds >= MEASURED_SECONDS:
            rate = tokens / seconds
            self._rate = rate if self._rate is None else min(self._rate, rate)

    def timeout(self, tokens: int) -> float:
        """Return the seconds after which a worker that computes so many tokens counts as hanging."""
        return self._timeout.seconds(tokens, measured=self._rate, assumed=self._assumed)
