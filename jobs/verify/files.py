"""Checks of data files and rejects: each is read whole and compared with its own metadata."""

import io
import json
from dataclasses import dataclass

import pyarrow as pa

from corpusmill.jobs.verify.values import value_problems
from corpusmill.pipeline.errors import first_line
from corpusmill.pipeline.output.folder import OutputFolder
from corpusmill.pipeline.output.receipts import Receipt, UnitRecord, checksum_of
from corpusmill.pipeline.output.sinks import SINKS


@dataclass(frozen=True, slots=True)
class InputColumns:
    """The columns of an output that are the input's, and the name of the text column."""

    kept: tuple[str, ...]
    text: str


def check_files(
    folder: OutputFolder, checksums: dict[str, str], columns: InputColumns, problems: list[str]
) -> list[Receipt]:
    """Check every data file and its rejects; return the receipts of those that could be read."""
    receipts: list[Receipt] = []
    schema: pa.Schema | None = None
    for unit in sorted(folder.committed()):
        receipt, found = _check_file(folder, unit, checksums.get(unit), columns, problems)
        if receipt is not None and found is not None:
            receipts.append(receipt)
            schema = schema or found
            problems += _schema_differs(unit, found, schema)
            problems += check_rejects(folder, receipt.record)
    return receipts


def _check_file(
    folder: OutputFolder, unit: str, expected: str | None, columns: InputColumns, problems: list[str]
) -> tuple[Receipt | None, pa.Schema | None]:
    """Check a data file's checksum, metadata and rows; return its receipt and schema."""
    name = f"data/{unit}{folder.suffix}"
    content = folder.read(folder.data(unit))
    checksum = checksum_of(content)
    if expected is not None and checksum != expected:
        problems.append(
            f"{name}: checksum differs from the one recorded at its commit; the file was changed or damaged"
        )
    sink = next(sink for sink in SINKS.values() if sink.suffix == folder.suffix)
    try:
        table = sink.read(io.BytesIO(content))
        table.validate(full=True)
        record = UnitRecord.from_metadata(sink.schema(io.BytesIO(content)).metadata or {})
        problems += [f"{name}: {problem}" for problem in value_problems(table, columns.kept, columns.text)]
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        problems.append(f"{name}: cannot be read ({first_line(error)})")
        return None, None
    if record.unit != unit:
        problems.append(f"{name}: holds unit {record.unit}; the file was renamed or copied")
        return None, None
    if table.num_rows != record.rows or record.rows + record.rejected != record.rows_read:
        problems.append(
            f"{name}: expected {record.rows_read} rows with {record.rejected} rejected, "
            f"got {table.num_rows} rows"
        )
    return Receipt(record, len(content), checksum), table.schema.remove_metadata()


def _schema_differs(unit: str, found: pa.Schema, expected: pa.Schema) -> list[str]:
    return (
        []
        if found.equals(expected)
        else [f"data/{unit}: expected the schema of the other files, {expected}, got {found}"]
    )


def check_rejects(folder: OutputFolder, record: UnitRecord) -> list[str]:
    """Check that the unit's rejects are as many as it counted, each once, and of its file and rows."""
    path, name = folder.rejects(record.unit), f"rejects/{record.unit}.jsonl"
    if not folder.exists(path):
        return [f"{name}: expected {record.rejected} rejected rows, found no file"] if record.rejected else []
    lines = folder.read(path).splitlines()
    try:
        found = [json.loads(line) for line in lines]
        rows = [reject["row"] for reject in found]
        sources = {reject["file"] for reject in found if (reject["reason"], reject["raw"])}
    except (ValueError, KeyError, TypeError):
        return [f"{name}: expected one JSON object per line, with file, row, reason and raw"]
    if sources - {record.source}:
        return [f"{name}: expected rejects of {record.source}, got some of {sorted(map(str, sources))[0]}"]
    if record.first_row is not None:
        span = range(record.first_row, record.first_row + record.rows_read)
        if outside := [row for row in rows if row not in span]:
            return [f"{name}: expected rows {span.start} to {span.stop - 1}, got row {outside[0]}"]
    if len(rows) != record.rejected or len(set(rows)) != len(rows):
        return [
            f"{name}: expected {record.rejected} rejected rows, got {len(rows)}, "
            f"{len(set(rows))} of them different"
        ]
    return []
