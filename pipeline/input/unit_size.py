"""The number of rows of a unit: small enough to compute again, large enough to amortise its overhead.

It depends only on the file and the job, not on the machine, so that a resumed job cuts the same units.
"""

from dataclasses import dataclass

MAX_ROWS = 8192
MIN_ROWS = 64
MAX_BYTES = 64 * 2**20
"""Uncompressed bytes of the columns that are read."""
MAX_FLOPS = 2e12
"""Operations of one unit: 10 to 20 seconds of one CPU core, the work that is lost with a worker."""
CORE_BATCH = 2048
"""Tokens per batch of a CPU core; a job with larger batches has a device that needs them to be busy."""
FULL_BATCHES = 8
"""Least number of batches of such a device in a unit, as the last one is seldom full."""
BYTES_PER_TOKEN = 4.0
"""Typical of WordPiece on English; used only for the size of units, so an error of half does no harm."""


@dataclass(frozen=True, slots=True)
class UnitSizing:
    """The job's part of the decision: a given number of rows, or the limits of an automatic one.

    `flops_per_token` (over all passes) and `max_length` (None: windows over the whole text) are those of the
    job's most expensive model. `written_per_token` are the bytes that all models write per token.
    `tokens_per_batch` is the largest batch of a pool.
    """

    rows_per_unit: int | None
    flops_per_token: float
    max_length: int | None
    written_per_token: int = 0
    tokens_per_batch: int = CORE_BATCH

    def rows(self, *, text_bytes: float, row_bytes: float) -> int:
        """Return the rows of a unit for a file with these mean bytes of text and of all columns per row."""
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
        """The least number of tokens of a unit on a device with large batches."""
        return FULL_BATCHES * self.tokens_per_batch if self.tokens_per_batch > CORE_BATCH else 0
