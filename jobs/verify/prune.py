"""Removal of the data files of inputs that were replaced or removed after they were read."""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpusmill.jobs.driver.fingerprint import open_output
from corpusmill.jobs.driver.owner import owning
from corpusmill.jobs.driver.plan_records import read_plan, still_stale, units_of, write_stale
from corpusmill.pipeline.output.folder import OutputFolder
from corpusmill.pipeline.output.manifest import CURRENT, receipts


@dataclass(frozen=True, slots=True)
class PruneResult:
    """The stale data files, their size, and whether they were removed."""

    output: str
    files: tuple[str, ...]
    rows: int
    bytes: int
    removed: bool


def prune(output: str, *, remove: bool = False) -> PruneResult:
    """Find an output's stale files; with `remove`, delete them and their rejects.

    The manifest is shortened first, so that it never names a missing file. The next prune finds again what a
    crash left.
    """
    folder, _ = open_output(output)
    if not remove:
        return _stale_files(folder, removed=False)
    with owning(folder):
        result = _stale_files(folder, removed=True)
        _shorten_manifest(folder)
        for name in result.files:
            unit = name.removeprefix("data/").removesuffix(folder.suffix)
            folder.remove(folder.data(unit))
            folder.remove(folder.rejects(unit))
        write_stale(folder, ())
    return result


def _stale_files(folder: OutputFolder, *, removed: bool) -> PruneResult:
    committed = folder.committed()
    units = sorted(units_of(still_stale(folder, read_plan(folder), committed), committed))
    found = receipts(folder, units)
    return PruneResult(
        folder.url,
        tuple(f"data/{unit}{folder.suffix}" for unit in units),
        sum(receipt.record.rows for receipt in found.values()),
        sum(receipt.bytes for receipt in found.values()),
        removed,
    )


def _shorten_manifest(folder: OutputFolder) -> None:
    if not folder.exists(folder.manifest):
        return
    table = pq.read_table(io.BytesIO(folder.read(folder.manifest)))
    buffer = io.BytesIO()
    pq.write_table(table.filter(pc.equal(table["state"], CURRENT)), buffer)
    folder.put(folder.manifest, buffer.getvalue())


def prune_lines(result: PruneResult) -> Iterator[str]:
    """Yield the stale files, and whether they were removed."""
    yield from result.files
    verb = "removed" if result.removed else "would remove"
    more = "" if result.removed or not result.files else "; remove with --yes"
    yield f"{verb} {len(result.files)} file(s), {result.rows:,} rows, {result.bytes / 1e6:,.1f} MB{more}"
