"""Finding the rows of a unit that end or hang their worker: what is tried after each death.

A unit that ended several workers is cut into FAN_OUT pieces, a piece that ends one into FAN_OUT again, down
to single rows. A wide cut costs few deaths, which are dear (a start each), and many pieces, which are cheap.
Where a worker is at several pieces at once, each of them is tried alone first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from corpusmill.pipeline.engine.tickets import Piece

MAX_DEATHS_OF_A_UNIT = 3
"""Deaths after which a unit is suspected: until then a worker may have died of anything else."""
MAX_DEATHS_OF_A_ROW = 2
"""Deaths of a row encoded alone after which it is refused."""
MAX_DEATHS_IN_A_UNIT = 64
"""Deaths after which a unit is given up: about twelve rows at fault are found with as many."""
FAN_OUT = 16


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
