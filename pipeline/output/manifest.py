"""`_manifest.parquet`: a row per existing data file, in input order, written last."""

import contextlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from corpusmill.pipeline.errors import OutputError, first_line
from corpusmill.pipeline.input.units import Split, split_key
from corpusmill.pipeline.output.append_log import record_lines
from corpusmill.pipeline.output.folder import OutputFolder
from corpusmill.pipeline.output.receipts import Receipt, UnitRecord, checksum_of
from corpusmill.pipeline.output.sinks import SINKS

RECEIPTS = "receipts.jsonl"
"""The log of receipts, so that a later run need not read the data files again."""
SCHEMA = pa.schema(
    [
        ("unit", pa.string()),
        ("file", pa.string()),
        ("source", pa.string()),
        ("source_size", pa.int64()),
        ("source_mark", pa.string()),
        ("row_start", pa.int64()),
        ("row_stop", pa.int64()),
        ("rows", pa.int64()),
        ("rejected", pa.int64()),
        ("tokens", pa.int64()),
        ("bytes", pa.int64()),
        ("checksum", pa.string()),
        ("state", pa.string()),
    ]
)

ROWS_AT_ONCE = 10_000
"""Rows of the manifest that are Python objects at once: a million would take most of a gigabyte."""


CURRENT, REPLACED, REMOVED = "current", "replaced", "removed"


@dataclass(frozen=True, slots=True)
class Stale:
    """A split of an input that was replaced or removed; its units are kept until they are pruned."""

    split: Split
    state: str


def noted_receipts(folder: OutputFolder) -> dict[str, Receipt]:
    """Return the receipts in the log; their units may have been removed since."""
    noted: dict[str, Receipt] = {}
    for line in record_lines(folder, RECEIPTS):
        with contextlib.suppress(
            ValueError, TypeError, KeyError, AttributeError
        ):  # a line cut by a kill, joined to the next one
            receipt = Receipt.from_line(line)
            noted[receipt.record.unit] = receipt
    return noted


def receipts(folder: OutputFolder, units: Iterable[str]) -> dict[str, Receipt]:
    """Return the receipts of committed units; a receipt that is not in the log is made from the data file."""
    noted = noted_receipts(folder)
    found = ((unit, noted.get(unit) or read_receipt(folder, unit)) for unit in units)
    # Uses one string object for each name: there may be a million names.
    return {receipt.record.unit if receipt.record.unit == unit else unit: receipt for unit, receipt in found}


def read_receipt(folder: OutputFolder, unit: str) -> Receipt:
    """Return a committed unit's receipt, made from its data file."""
    content = folder.read(folder.data(unit))
    try:
        record = read_record(folder, content)
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        raise OutputError(
            f"{folder.data(unit)}: expected a data file that a job wrote, got one that is damaged or has "
            f"another format ({first_line(error)}); move it away and run the same command again"
        ) from None
    return Receipt(record, len(content), checksum_of(content))


def read_record(folder: OutputFolder, content: bytes) -> UnitRecord:
    """Read the unit record in the metadata of a data file."""
    sink = next(sink for sink in SINKS.values() if sink.suffix == folder.suffix)
    return UnitRecord.from_metadata(sink.schema(io.BytesIO(content)).metadata or {})


def write_manifest(
    folder: OutputFolder, splits: Sequence[Split], found: dict[str, Receipt], stale: Sequence[Stale] = ()
) -> pa.Table:
    """Write and return the manifest of the units found."""
    table = manifest_table(folder, splits, found.values(), stale)
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    folder.put(folder.manifest, buffer.getvalue())
    return table


def manifest_table(
    folder: OutputFolder, splits: Sequence[Split], found: Iterable[Receipt], stale: Sequence[Stale] = ()
) -> pa.Table:
    """Return the manifest of the units found, in input order, with rows numbered within each file.

    Units of inputs that were replaced or removed come last.
    """
    every = [(split, CURRENT) for split in splits] + [(one.split, one.state) for one in stale]
    by_split: dict[str, list[Receipt]] = {}
    for receipt in found:
        by_split.setdefault(split_key(receipt.record.unit), []).append(receipt)
    parts: list[pa.Table] = [SCHEMA.empty_table()]
    rows: list[dict[str, object]] = []
    source, row = None, 0
    for split, state in every:
        # Splits are in file order, so the rows of a file are counted from its first split on.
        row = row if split.file == source else 0
        source = split.file
        for receipt in sorted(by_split.pop(split.key, []), key=lambda r: r.record.offset):
            row = receipt.record.first_row if receipt.record.first_row is not None else row
            rows.append(_row(folder, split, receipt, row, state))
            row += receipt.record.rows_read
        if len(rows) >= ROWS_AT_ONCE:
            parts.append(pa.Table.from_pylist(rows, schema=SCHEMA))
            rows = []
    return pa.concat_tables([*parts, pa.Table.from_pylist(rows, schema=SCHEMA)])


def _row(
    folder: OutputFolder, split: Split, receipt: Receipt, first_row: int, state: str
) -> dict[str, object]:
    record = receipt.record
    return {
        "unit": record.unit,
        "file": f"data/{record.unit}{folder.suffix}",
        "source": record.source,
        "source_size": split.file.size,
        "source_mark": split.file.mark,
        "row_start": first_row,
        "row_stop": first_row + record.rows_read,
        "rows": record.rows,
        "rejected": record.rejected,
        "tokens": record.tokens,
        "bytes": receipt.bytes,
        "checksum": receipt.checksum,
        "state": state,
    }
