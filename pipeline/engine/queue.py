"""One model's queue: pieces of units in order, counted in tokens."""

from collections import deque

from corpusmill.pipeline.engine.tickets import Piece, Share, Ticket


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
