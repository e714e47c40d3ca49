"""Finding the rows of a unit that end or hang their worker: what is tried after each death.

A unit that ended several workers is cut into FAN_OUT pieces, a piece that ends one into FAN_OUT again, down
to single rows. A wide cut costs few deaths, which are dear (a start each), and many pieces, which are cheap.
Where a worker is at several pieces at once, each of them is tried alone first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ray.exceptions import RayActorError, RayError

from corpusmill.pipeline.engine.work import Piece
from corpusmill.pipeline.errors import JobFailed

MAX_DEATHS_OF_A_UNIT = 3
"""Deaths after which a unit is suspected: until then a worker may have died of anything else."""
MAX_DEATHS_OF_A_ROW = 2
"""Deaths of a row encoded alone after which it is refused."""
MAX_DEATHS_IN_A_UNIT = 64
"""Deaths after which a unit is given up: about twelve rows at fault are found with as many."""
FAN_OUT = 16

MAX_FAILED_STARTS = 3
MAX_DEATHS = 20
"""Both per worker of the pool, so that the loss of a large node is not taken for a fault of the model."""


@dataclass(frozen=True, slots=True)
class Death:
    """How a worker ended; `certain` where there is no doubt that what it was at is at fault."""

    reason: str
    certain: bool = False


DIED = Death("died")
OUT_OF_MEMORY = Death("was killed as its node had no memory left")


def suspected(pieces: Sequence[Piece], at_once: int) -> bool:
    """Say whether a worker's death may be the fault of any of several pieces, which then are tried alone."""
    under_way = pieces[:at_once]
    if len(under_way) < 2:
        return False
    for piece in under_way:
        piece.alone = True
    return True


def after_death(piece: Piece, death: Death) -> list[Piece]:
    """Return what to do again, in order, of a piece that ended its worker; [] if its row is refused.

    Where a death was certain to be its fault, a unit is cut up at once.
    """
    piece.deaths += 1
    piece.share.deaths += 1
    if piece.share.failed or piece.share.deaths >= MAX_DEATHS_IN_A_UNIT:
        piece.given_up(f"its rows ended {piece.share.deaths} workers, more than rows at fault would explain")
        return []
    if piece.rows > 1:
        patient = piece.whole and not death.certain and piece.deaths < MAX_DEATHS_OF_A_UNIT
        return [piece] if patient else _cut(piece)
    limit = MAX_DEATHS_OF_A_UNIT if piece.whole else MAX_DEATHS_OF_A_ROW
    if piece.deaths < limit:
        return [piece]
    why = death.reason if death.certain else f"ended its worker {piece.deaths} times"
    if death is OUT_OF_MEMORY:
        why += ", the last time as its node had no memory left"
    if piece.rows == 0:
        piece.given_up(f"{why}, without any row")
        return []
    piece.refused(f"{why}, encoded alone")
    return _columns_of_none(piece)


def _cut(piece: Piece) -> list[Piece]:
    step = -(-piece.rows // FAN_OUT)
    starts = range(piece.start, piece.stop, step)
    piece.share.open += len(starts) - 1
    return [
        Piece(piece.ticket, piece.share, start, min(start + step, piece.stop), alone=piece.alone)
        for start in starts
    ]


def _columns_of_none(piece: Piece) -> list[Piece]:
    """Where every row of a unit is refused, its file still needs columns: those of no row."""
    if piece.share.open or piece.share.parts:
        return []
    piece.share.open = 1
    return [Piece(piece.ticket, piece.share, 0, 0)]


# Bounds on restarts: a pool whose workers only ever die ends the job instead of starting them for ever.


class Streaks:
    """Counts one model's deaths and failed starts in a row; JobFailed at the limits."""

    def __init__(self, model: str, workers: int) -> None:
        self._model, self._workers = model, workers
        self._deaths = self._failed_starts = 0

    def started(self) -> None:
        """Note that a worker has loaded the model."""
        self._failed_starts = 0

    def finished(self) -> None:
        """Note that a worker has finished something."""
        self._deaths = 0

    def died(self) -> None:
        """Note that a worker died at work."""
        self._deaths += 1
        if self._deaths >= MAX_DEATHS * self._workers:
            raise JobFailed(
                f"model {self._model}: {self._deaths} workers in a row died and none finished anything; is "
                "there enough memory for it? Run again with --debug to see the workers' own output"
            )

    def died_starting(self, error: RayError) -> None:
        """Note that a worker died before it had loaded the model."""
        if isinstance(error, RayActorError) and error.actor_init_failed:
            reason = str(error).strip().splitlines()[-1]
            raise JobFailed(f"model {self._model}: a worker could not load it: {reason}")
        self._failed_starts += 1
        if self._failed_starts >= MAX_FAILED_STARTS * self._workers:
            raise JobFailed(
                f"model {self._model}: {self._failed_starts} workers in a row died while loading; is there "
                "enough memory for the model? Run again with --debug to see the workers' own output"
            )


# How long a worker may take for a unit before it counts as hanging.


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
