"""Verification of an output: checksums, schema, and each input row once, as a row or as a reject."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from corpusmill.jobs.driver.fingerprint import open_output
from corpusmill.jobs.driver.plan_records import read_plan, read_stale, units_of
from corpusmill.jobs.verify.files import InputColumns, check_files
from corpusmill.jobs.verify.manifest import manifest_problems, read_manifest
from corpusmill.pipeline.errors import CorpusmillError
from corpusmill.pipeline.input.readers import READERS
from corpusmill.pipeline.input.units import Split, split_key
from corpusmill.pipeline.output.folder import OutputFolder
from corpusmill.pipeline.output.manifest import noted_receipts, receipts
from corpusmill.pipeline.output.receipts import Receipt, UnitRecord
from corpusmill.pipeline.storage import stat_file

OUTPUT_ENTRIES = ("data", "rejects", "_job", "_manifest.parquet")
"""The entries of an output folder."""


@dataclass(frozen=True)
class VerifyResult:
    """The result of a verification. `ok`: no problem; `complete`: the job has finished; `rows`: output rows.

    `stale` are the data files of inputs that were replaced or removed later; no other field counts them.
    """

    output: str
    ok: bool
    complete: bool
    units: int
    rows: int
    rejected: int
    problems: tuple[str, ...]
    stale: tuple[str, ...] = ()


def verify(output: str, *, listing: bool = False) -> VerifyResult:
    """Check a finished or running output; units may be missing only while it has no manifest.

    With `listing`, only names and sizes of the data files are compared with the receipts; no data file and no
    input is read. It finds missing files in a fraction of the time.
    """
    folder, job = open_output(output)
    columns = InputColumns(tuple(job["input.keep"]), job["input.text"])
    splits, stale = read_plan(folder), read_stale(folder)
    complete = folder.exists(folder.manifest)
    problems: list[str] = []
    manifest = read_manifest(folder, problems) if complete else None
    if listing:
        found = _check_listing(folder, problems)
    else:
        found = check_files(folder, _checksums(folder, manifest), columns, problems)
    old = units_of(stale, [receipt.record.unit for receipt in found])
    records = [receipt.record for receipt in found if receipt.record.unit not in old]
    known = (*splits, *(one.split for one in stale))
    problems += _stray_files(folder, {receipt.record.unit: receipt.record for receipt in found}, known)
    problems += _row_accounting(splits, records, complete=complete, recount=not listing)
    if manifest is not None:
        problems += manifest_problems(folder, manifest, found, splits, stale)
    return VerifyResult(
        output=folder.url,
        ok=not problems,
        complete=complete,
        units=len(records),
        rows=sum(record.rows for record in records),
        rejected=sum(record.rejected for record in records),
        problems=tuple(problems),
        stale=tuple(sorted(f"data/{unit}{folder.suffix}" for unit in old)),
    )


def _check_listing(folder: OutputFolder, problems: list[str]) -> list[Receipt]:
    """Compare the files' sizes with their receipts; read only files without a receipt."""
    sizes = folder.sizes()
    found = receipts(folder, sizes)
    for unit, receipt in found.items():
        name = f"data/{unit}{folder.suffix}"
        if receipt.record.unit != unit:
            problems.append(f"{name}: holds unit {receipt.record.unit}; the file was renamed or copied")
        if sizes[unit] != receipt.bytes:
            problems.append(f"{name}: expected {receipt.bytes} bytes, got {sizes[unit]}")
    return [receipt for unit, receipt in found.items() if receipt.record.unit == unit]


def _checksums(folder: OutputFolder, manifest: pa.Table | None) -> dict[str, str]:
    """Return each unit's checksum from its commit: from the manifest, else from the receipts."""
    if manifest is not None:
        return dict(zip(manifest["unit"].to_pylist(), manifest["checksum"].to_pylist(), strict=True))
    return {unit: receipt.checksum for unit, receipt in noted_receipts(folder).items()}


def _stray_files(
    folder: OutputFolder, records: dict[str, UnitRecord], splits: Sequence[Split]
) -> Iterator[str]:
    """Yield the files that belong to no unit of the plan."""
    by_key = {split.key: split for split in splits}
    for name in folder.names(""):
        if name not in OUTPUT_ENTRIES:
            yield f"{name}: not a file of this output; remove it"
    for name in folder.names("data"):
        if not name.endswith(folder.suffix):
            yield f"data/{name}: not a file of this output; remove it"
    for unit in records:
        split = by_key.get(split_key(unit))
        offset = None if split is None else split.offset_of(unit)
        if split is None or offset is None or offset % split.rows_per_unit:
            yield f"data/{unit}: expected a unit of a planned input"
    finished = folder.exists(folder.manifest)
    for name in folder.names("rejects"):
        unit = name.removesuffix(".jsonl")
        if unit in records and not records[unit].rejected:
            yield f"rejects/{name}: not a file of this output, its unit has no rejects"
        elif unit not in records and finished and not folder.exists(folder.data(unit)):
            yield f"rejects/{name}: not a file of this output, its unit is not committed"


def _row_accounting(
    splits: Sequence[Split], records: Sequence[UnitRecord], *, complete: bool, recount: bool
) -> Iterator[str]:
    """Compare the rows of each input file with its units; `recount` counts the input's rows again.

    Of an unfinished job, only the units that are there are checked.
    """
    by_split: dict[str, list[UnitRecord]] = {}
    for record in records:
        by_split.setdefault(split_key(record.unit), []).append(record)
    for split in splits:
        found = sorted(by_split.get(split.key, []), key=lambda record: record.offset)
        for record in found:
            if record.rows_read != split.rows_per_unit and not record.last:
                yield f"data/{record.unit}: expected {split.rows_per_unit} input rows, got {record.rows_read}"
        if complete:
            yield from _split_problems(split, found, _input_rows(split) if recount else split.rows)


def _split_problems(split: Split, found: Sequence[UnitRecord], expected: int | None) -> Iterator[str]:
    rows = sum(record.rows_read for record in found)
    starts = [record.offset for record in found]
    wanted = list(range(0, rows if expected is None else expected, split.rows_per_unit))
    missing = sorted(set(wanted) - set(starts))
    if missing:
        yield f"{split.file.url}: {len(missing)} unit(s) missing, first data/{split.unit(missing[0]).name}"
    elif expected is not None and rows != expected:
        yield f"{split.file.url}: expected {expected} input rows, got {rows} in the output and the rejects"


def _input_rows(split: Split) -> int | None:
    """Count a split's rows in the input; return the planned number if the input changed or cannot be read."""
    try:
        if stat_file(split.file.url) != split.file:
            return split.rows
        return READERS[split.format].count(split)
    except (CorpusmillError, OSError):
        return split.rows
