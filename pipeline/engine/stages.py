"""The first two stages of the record path, as every executor runs them: read a split, tokenize its units."""

from collections.abc import Iterator

from corpusmill.pipeline.blocks import UnitBlock, failed_block
from corpusmill.pipeline.errors import CorpusmillError, InputChanged
from corpusmill.pipeline.planning import Pending
from corpusmill.pipeline.readers import READERS
from corpusmill.pipeline.spec import InputSpec
from corpusmill.pipeline.storage import current
from corpusmill.pipeline.units import Split


def read(pending: Pending, spec: InputSpec) -> Iterator[UnitBlock]:
    """Yield the uncommitted units of a split; what stops the reading becomes the last block's `error`."""
    split = pending.split
    reached = 0
    try:
        _check_unchanged(split)
        for block in READERS[split.format].read(split, spec, pending.skip):
            reached = block.unit.offset + split.rows_per_unit
            yield block
    except CorpusmillError as error:
        yield failed_block(split.unit(reached), str(error))


def _check_unchanged(split: Split) -> None:
    found = current(split.file.url)
    if found != split.file:
        raise InputChanged(f"{split.file.url}: expected the file that was planned ({split.file.size} bytes, mark "
                           f"{split.file.mark}), got {found.size} bytes, mark {found.mark}; leave inputs alone while a "
                           "job runs, then run it again")
