"""Checks of the manifest against the data files of a finished output."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpusmill.pipeline.input.units import Split, split_key
from corpusmill.pipeline.output.folder import OutputFolder
from corpusmill.pipeline.output.manifest import CURRENT, SCHEMA, Stale, manifest_table
from corpusmill.pipeline.output.receipts import Receipt


def read_manifest(folder: OutputFolder, problems: list[str]) -> pa.Table | None:
    """Read the manifest and add its faults to `problems`; return None if it cannot be used."""
    try:
        table = pq.read_table(io.BytesIO(folder.read(folder.manifest)))
    except (pa.ArrowException, OSError) as error:
        problems.append(f"_manifest.parquet: cannot be read ({error})")
        return None
    if not table.schema.equals(SCHEMA):
        problems.append("_manifest.parquet: expected the columns of a manifest, got others")
        return None
    if pc.count_distinct(table["unit"]).as_py() != table.num_rows:
        problems.append("_manifest.parquet: names a unit more than once")
    return table


def manifest_problems(
    folder: OutputFolder,
    manifest: pa.Table,
    found: Sequence[Receipt],
    splits: Sequence[Split],
    stale: Sequence[Stale] = (),
) -> Iterator[str]:
    """Compare the manifest with the data files, both ways; it need not name stale ones."""
    if manifest.equals(manifest_table(folder, splits, found, stale)):
        return  # rows are compared one by one only if the tables differ: as objects they take gigabytes
    rows = {row["unit"]: row for row in manifest.to_pylist()}
    by_key = {split.key: Stale(split, CURRENT) for split in splits} | {one.split.key: one for one in stale}
    receipts = {receipt.record.unit: receipt for receipt in found}
    for unit in sorted({*rows, *receipts}):
        if unit not in receipts:
            yield f"data/{unit}{folder.suffix}: in the manifest, but missing in data/ or not readable"
        elif unit not in rows and _state(by_key, unit) == CURRENT:
            yield f"data/{unit}{folder.suffix}: not in the manifest"
        elif unit in rows:
            yield from _row_problems(folder, rows[unit], receipts[unit], by_key.get(split_key(unit)))


def _state(by_key: dict[str, Stale], unit: str) -> str:
    found = by_key.get(split_key(unit))
    return CURRENT if found is None else found.state


def _row_problems(
    folder: OutputFolder, row: dict[str, Any], receipt: Receipt, planned: Stale | None
) -> Iterator[str]:
    """Compare a row with the data file's metadata; `check_files` compares the checksum."""
    record = receipt.record
    expected = {name: asdict(record)[name] for name in ("source", "rows", "rejected", "tokens")}
    expected |= {"file": f"data/{record.unit}{folder.suffix}", "bytes": receipt.bytes}
    if record.first_row is not None:
        expected |= {"row_start": record.first_row, "row_stop": record.first_row + record.rows_read}
    if planned is not None:
        file = planned.split.file
        expected |= {"source_size": file.size, "source_mark": file.mark, "state": planned.state}
    for name, value in expected.items():
        if row[name] != value:
            yield f"_manifest.parquet: unit {record.unit}: expected {name} {value!r}, got {row[name]!r}"
