"""A unit on its way through the models: what each of them has given, and what is still to come."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from corpusmill.pipeline.blocks import UnitSummary
from corpusmill.pipeline.encode.encoded import EncodeStats


@dataclass(eq=False)
class Share:
    """One model's share of a unit: its open pieces, and what it gave.

    `parts` holds (first row, reference of the columns); `refused` are rows that it could not take, and why.
    """

    open: int = 1
    parts: list[tuple[int, Any]] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)
    tokens: int = 0
    deaths: int = 0
    failed: str | None = None

    def fail(self, reason: str) -> None:
        """Give the unit up for this model, once; the first reason stays."""
        self.failed = self.failed or reason


@dataclass(eq=False)
class Ticket:
    """A unit's packed block, and a share for each model of the job; `losses` counts lost objects of it."""

    row: Any
    bytes: int
    summary: UnitSummary
    shares: list[Share]
    losses: int = 0

    @property
    def done(self) -> bool:
        """Whether no model has anything of it any more."""
        return all(share.open == 0 for share in self.shares)

    @property
    def failed(self) -> str | None:
        """Why a model gave the unit up, if one did."""
        return next((share.failed for share in self.shares if share.failed), None)

    @property
    def refused(self) -> dict[int, str]:
        """The rows that some model could not take, with the first model's reason."""
        refused: dict[int, str] = {}
        for share in reversed(self.shares):
            refused |= share.refused
        return refused

    @property
    def tokens(self) -> int:
        """The tokens that all models computed."""
        return sum(share.tokens for share in self.shares)

    def size(self, tokenizer: str) -> int:
        """The tokens of one tokenization."""
        return self.summary.tokens.get(tokenizer, 0)

    def again(self) -> None:
        """Forget all results."""
        self.shares = [Share() for _ in self.shares]


@dataclass(eq=False)
class Piece:
    """Rows `start` to `stop` of a unit, for one model; `deaths` counts the workers that ended on them.

    One that may have ended a worker, or another piece beside it, is from then on `alone` with its worker.
    """

    ticket: Ticket
    share: Share
    start: int
    stop: int
    deaths: int = 0
    alone: bool = False

    @property
    def rows(self) -> int:
        """The number of its rows."""
        return self.stop - self.start

    @property
    def whole(self) -> bool:
        """Whether these are all rows of the unit."""
        return self.rows == self.ticket.summary.rows

    def tokens(self, tokenizer: str) -> int:
        """Its part of the unit's tokens, as if all rows had as many."""
        return self.ticket.size(tokenizer) * self.rows // max(self.ticket.summary.rows, 1)

    def answered(self, columns: Any, stats: EncodeStats) -> None:
        """Note what a worker gave for it."""
        self.share.open -= 1
        self.share.parts.append((self.start, columns))
        self.share.tokens += stats.tokens
        self._refuse(stats.refused)

    def refused(self, reason: str) -> None:
        """Note that its only row cannot be taken."""
        self.share.open -= 1
        self._refuse({0: reason})

    def given_up(self, reason: str) -> None:
        """Note that it will not be done, nor its unit."""
        self.share.open -= 1
        self.share.fail(reason)

    def _refuse(self, rows: Mapping[int, str]) -> None:
        self.share.refused |= {self.start + row: reason for row, reason in rows.items()}


# One model's queue: pieces of units in order, counted in tokens.


class Queue:
    """Pieces that wait for the `index`-th model of a job; what a dead worker held comes back to the front."""

    def __init__(self, index: int, tokenizer: str) -> None:
        self.tokens = 0
        self.tokenizer = tokenizer
        self._index = index
        self._pieces: deque[Piece] = deque()

    def __len__(self) -> int:
        return len(self._pieces)

    @property
    def first(self) -> Piece:
        """The piece that is next."""
        return self._pieces[0]

    def size(self, piece: Piece) -> int:
        """Return a piece's tokens, as this queue counts them."""
        return piece.tokens(self.tokenizer)

    def add(self, ticket: Ticket) -> None:
        """Put a unit at the end."""
        piece = Piece(ticket, ticket.shares[self._index], 0, ticket.summary.rows)
        self._pieces.append(piece)
        self.tokens += self.size(piece)

    def pop(self) -> Piece:
        """Take the piece that is next."""
        piece = self._pieces.popleft()
        self.tokens -= self.size(piece)
        return piece

    def put_back(self, pieces: list[Piece]) -> None:
        """Put pieces before all others, in this order."""
        self._pieces.extendleft(reversed(pieces))
        self.tokens += sum(self.size(piece) for piece in pieces)

    def drop(self, share: Share) -> None:
        """Forget what waits of a unit that is given up."""
        share.open -= sum(piece.share is share for piece in self._pieces)
        self._pieces = deque(piece for piece in self._pieces if piece.share is not share)
        self.tokens = sum(self.size(piece) for piece in self._pieces)
