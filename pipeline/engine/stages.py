"""The first two stages of the record path, as every executor runs them: read a split, tokenize its units.

A failure becomes the `error` of a block: an exception in a Ray Data task would end the whole dataset, or the
task would be tried again for ever.
"""

import time
from collections.abc import Iterator

from corpusmill.pipeline.blocks import UnitBlock, failed_block
from corpusmill.pipeline.errors import CorpusmillError, InputChanged, in_a_line
from corpusmill.pipeline.input.planning import Pending
from corpusmill.pipeline.input.readers import READERS
from corpusmill.pipeline.input.units import Split, Unit
from corpusmill.pipeline.spec import InputSpec, Tokenization
from corpusmill.pipeline.storage import stat_file
from corpusmill.pipeline.tokenize.tokens import tokenize


def read(pending: Pending, spec: InputSpec) -> Iterator[UnitBlock]:
    """Yield the uncommitted units of a split; a failure becomes the last block's `error`."""
    split = pending.split
    reached = 0
    began = time.perf_counter()
    try:
        _check_unchanged(split)
        for block in READERS[split.format].read(split, spec, pending.skip):
            _check_unchanged(split)  # a file that changes while it is read gives lines of both versions
            reached = block.unit.offset + split.rows_per_unit
            yield block.with_seconds("read", time.perf_counter() - began)
            began = time.perf_counter()
    except Exception as error:
        yield failed_block(_next_unit(pending, reached), _why_not_read(split, error))


def _why_not_read(split: Split, error: Exception) -> str:
    """Return the reason why reading stopped.

    A file that changed may look damaged, so the change is checked first.
    """
    if not isinstance(error, InputChanged):
        try:
            _check_unchanged(split)
        except CorpusmillError as cause:
            error = cause
    return (
        str(error)
        if isinstance(error, CorpusmillError)
        else (f"{split.file.url}: cannot be read ({in_a_line(error)})")
    )


def _next_unit(pending: Pending, reached: int) -> Unit:
    """Return the first unit at or after an offset that is not committed."""
    while reached in pending.skip:
        reached += pending.split.rows_per_unit
    return pending.split.unit(reached)


def tokenize_block(block: UnitBlock, tokenization: Tokenization) -> UnitBlock:
    """Tokenize a block; a failure becomes its error."""
    began = time.perf_counter()
    try:
        return tokenize(block, tokenization).with_seconds("tokenize", time.perf_counter() - began)
    except CorpusmillError as error:
        return failed_block(block.unit, str(error))
    except Exception as error:
        return failed_block(
            block.unit,
            f"{block.unit.source}: unit {block.unit.name} cannot be tokenized ({in_a_line(error)})",
        )


def _check_unchanged(split: Split) -> None:
    found = stat_file(split.file.url)
    if found != split.file:
        raise InputChanged(
            f"{split.file.url}: expected the file that was planned ({split.file.size} bytes, mark "
            f"{split.file.mark}), got {found.size} bytes, mark {found.mark}; do not change inputs while a "
            "job runs, then run it again"
        )
