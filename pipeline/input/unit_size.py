"""How many rows a unit holds: small enough to redo without pain, large enough to amortise its overhead.

Depends on the file and the job only, never on the machine, so that a resumed job cuts the same units.
"""

from dataclasses import dataclass

MAX_ROWS = 8192
MIN_ROWS = 64
MAX_BYTES = 64 * 2**20
"""Of the columns read, uncompressed."""
MAX_FLOPS = 2e12
"""Of one unit: 10 to 20 seconds of one CPU core, which is what a kill can cost a worker."""
CORE_BATCH = 2048
"""Tokens that a CPU core takes at once; who asks for more has a device that needs them to be busy."""
FULL_BATCHES = 8
"""Batches of such a device that a unit fills at least: its last one is seldom full."""
BYTES_PER_TOKEN = 4.0
"""Typical of WordPiece on English; only sizes units, so being wrong by half is harmless."""


@dataclass(frozen=True, slots=True)
class UnitSizing:
    """The job's part of the decision: a number of rows asked for, or what limits an automatic one.

    `flops_per_token`, over all passes, and `max_length` (None: windows over all of a text) are those of the
    job's most expensive model; `written_per_token` are the bytes that all models write of a token, and
    `tokens_per_batch` is the largest batch that a pool asks for.
    """

    rows_per_unit: int | None
    flops_per_token: float
    max_length: int | None
    written_per_token: int = 0
    tokens_per_batch: int = CORE_BATCH

    def rows(self, *, text_bytes: float, row_bytes: float) -> int:
        """Return the rows of a unit for a file whose rows average so many bytes of text, and in all."""
        if self.rows_per_unit is not None:
            return self.rows_per_unit
        tokens = text_bytes / BYTES_PER_TOKEN + 2
        if self.max_length is not None:
            tokens = min(self.max_length, tokens)
        by_work = MAX_FLOPS / max(self.flops_per_token * tokens, 1.0)
        by_size = MAX_BYTES / max(row_bytes, self.written_per_token * tokens, 1.0)
        return int(
            max(1, min(MAX_ROWS, by_size, max(MIN_ROWS, by_work, self._tokens_to_fill_device / tokens)))
        )

    @property
    def _tokens_to_fill_device(self) -> int:
        """Return the tokens that keep a device busy which takes many at once."""
        return FULL_BATCHES * self.tokens_per_batch if self.tokens_per_batch > CORE_BATCH else 0
