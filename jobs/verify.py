"""Re-reading an output: checksums, schema, and every input row there once, as a row or as a reject."""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from corpusmill.jobs.fingerprint import open_output
from corpusmill.jobs.plan_file import read_plan
from corpusmill.jobs.verify_manifest import Rows, manifest_problems, manifest_rows
from corpusmill.pipeline.errors import CorpusmillError
from corpusmill.pipeline.manifest import noted_receipts
from corpusmill.pipeline.output import OutputFolder
from corpusmill.pipeline.readers import READERS
from corpusmill.pipeline.receipts import Receipt, UnitRecord, checksum_of
from corpusmill.pipeline.sinks import SINKS
from corpusmill.pipeline.storage import current
from corpusmill.pipeline.units import Split, split_key


@dataclass(frozen=True)
class VerifyResult:
    """What was found. `ok` means no problem; `complete` that the job has finished; `rows` are output rows."""

    output: str
    ok: bool
    complete: bool
    units: int
    rows: int
    rejected: int
    problems: tuple[str, ...]


def verify(output: str) -> VerifyResult:
    """Check a finished or running output; units may be missing only while it has no manifest."""
    folder, job = open_output(output)
    splits = read_plan(folder)
    complete = folder.exists(folder.manifest)
    problems: list[str] = []
    manifest = manifest_rows(folder, problems) if complete else None
    found = _check_files(folder, _checksums(folder, manifest), job["input.keep"], problems)
    records = [receipt.record for receipt in found]
    problems += _strangers(folder, {record.unit: record for record in records}, splits)
    problems += _account(splits, records, complete=complete)
    if manifest is not None:
        problems += manifest_problems(folder, manifest, found, splits)
    return VerifyResult(
        output=folder.url,
        ok=not problems,
        complete=complete,
        units=len(records),
        rows=sum(record.rows for record in records),
        rejected=sum(record.rejected for record in records),
        problems=tuple(problems),
    )


def _checksums(folder: OutputFolder, manifest: Rows | None) -> dict[str, str]:
    """Return each unit's checksum as noted at its commit: from the manifest, else from the receipts."""
    if manifest is not None:
        return {unit: row["checksum"] for unit, row in manifest.items()}
    return {unit: receipt.checksum for unit, receipt in noted_receipts(folder).items()}


def _check_files(
    folder: OutputFolder, checksums: dict[str, str], kept: Sequence[str], problems: list[str]
) -> list[Receipt]:
    """Check every data file and its rejects; return what could be read."""
    receipts: list[Receipt] = []
    schema: pa.Schema | None = None
    for unit in sorted(folder.committed()):
        receipt, found = _check_file(folder, unit, checksums.get(unit), kept, problems)
        if receipt is not None and found is not None:
            receipts.append(receipt)
            schema = schema or found
            problems += _schema_differs(unit, found, schema)
            problems += _check_rejects(folder, receipt.record)
    return receipts


def _check_file(
    folder: OutputFolder, unit: str, noted: str | None, kept: Sequence[str], problems: list[str]
) -> tuple[Receipt | None, pa.Schema | None]:
    """Read a data file whole: its checksum, its own record, its rows."""
    name = f"data/{unit}{folder.suffix}"
    content = folder.read(folder.data(unit))
    checksum = checksum_of(content)
    if noted is not None and checksum != noted:
        problems.append(
            f"{name}: checksum differs from the one noted at its commit; the file was changed or damaged"
        )
    sink = next(sink for sink in SINKS.values() if sink.suffix == folder.suffix)
    try:
        table = sink.read(io.BytesIO(content))
        table.validate(full=True)
        record = UnitRecord.from_metadata(sink.schema(io.BytesIO(content)).metadata or {})
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        problems.append(f"{name}: cannot be read ({(str(error).splitlines() or [type(error).__name__])[0]})")
        return None, None
    if record.unit != unit:
        problems.append(f"{name}: holds unit {record.unit}; the file was renamed or copied")
        return None, None
    if table.num_rows != record.rows or record.rows + record.rejected != record.rows_read:
        problems.append(
            f"{name}: expected {record.rows_read} rows with {record.rejected} rejected, "
            f"got {table.num_rows} rows"
        )
    problems += [
        f"{name}: column {column!r} holds NaN" for column in _with_nan(table.drop_columns(list(kept)))
    ]
    return Receipt(record, len(content), checksum), table.schema.remove_metadata()


def _with_nan(table: pa.Table) -> Iterator[str]:
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = column.type
        flat = column.combine_chunks().flatten() if pa.types.is_fixed_size_list(kind) else column
        if pa.types.is_floating(flat.type) and name.endswith(("embedding", "score", "value")):
            yield from [name] if np.isnan(np.asarray(flat.drop_null())).any() else []


def _schema_differs(unit: str, found: pa.Schema, expected: pa.Schema) -> list[str]:
    return (
        []
        if found.equals(expected)
        else [f"data/{unit}: schema differs from the other files': {found} instead of {expected}"]
    )


def _check_rejects(folder: OutputFolder, record: UnitRecord) -> list[str]:
    path, name = folder.rejects(record.unit), f"rejects/{record.unit}.jsonl"
    if not folder.exists(path):
        return [f"{name}: missing, {record.rejected} rejected rows expected"] if record.rejected else []
    lines = folder.read(path).splitlines()
    try:
        rows = [json.loads(line)["row"] for line in lines]
    except (ValueError, KeyError, TypeError):
        return [f"{name}: expected one JSON object a line with file, row, reason and raw"]
    if len(rows) != record.rejected or len(set(rows)) != len(rows):
        return [
            f"{name}: expected {record.rejected} rejected rows, got {len(rows)}, "
            f"{len(set(rows))} of them different"
        ]
    return []


def _strangers(
    folder: OutputFolder, records: dict[str, UnitRecord], splits: Sequence[Split]
) -> Iterator[str]:
    """Name files that no unit of the plan explains."""
    keys = {split.key for split in splits}
    for name in folder.names("data"):
        if not name.endswith(folder.suffix):
            yield f"data/{name}: a stray file"
    yield from (f"data/{unit}: a unit of no planned input" for unit in records if split_key(unit) not in keys)
    committed = folder.committed()
    for name in folder.names("rejects"):
        if name.removesuffix(".jsonl") in records and not records[name.removesuffix(".jsonl")].rejected:
            yield f"rejects/{name}: a stray file, the unit has no rejects"
        elif name.removesuffix(".jsonl") not in committed and folder.exists(folder.manifest):
            yield f"rejects/{name}: a stray file, the unit is not committed"


def _account(splits: Sequence[Split], records: Sequence[UnitRecord], *, complete: bool) -> Iterator[str]:
    """Count every input file again and compare; of an unfinished job, only what is there."""
    by_split: dict[str, list[UnitRecord]] = {}
    for record in records:
        by_split.setdefault(split_key(record.unit), []).append(record)
    for split in splits:
        found = sorted(by_split.get(split.key, []), key=lambda record: record.offset)
        for record in found:
            if record.rows_read != split.rows_per_unit and not record.last:
                yield f"data/{record.unit}: expected {split.rows_per_unit} input rows, got {record.rows_read}"
        if complete:
            yield from _whole(split, found)


def _whole(split: Split, found: Sequence[UnitRecord]) -> Iterator[str]:
    expected = _input_rows(split)
    rows = sum(record.rows_read for record in found)
    starts = [record.offset for record in found]
    wanted = list(range(0, rows if expected is None else expected, split.rows_per_unit))
    missing = sorted(set(wanted) - set(starts))
    if missing:
        yield f"{split.file.url}: {len(missing)} unit(s) missing, first data/{split.unit(missing[0]).name}"
    elif expected is not None and rows != expected:
        yield f"{split.file.url}: {expected} input rows, but {rows} in the output and the rejects"


def _input_rows(split: Split) -> int | None:
    """Count a split's rows in the input itself; None where the input is not there any more as it was."""
    try:
        if current(split.file.url) != split.file:
            return split.rows
        return READERS[split.format].count(split)
    except (CorpusmillError, OSError):
        return split.rows
