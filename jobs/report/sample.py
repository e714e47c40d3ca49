"""Samples of rows and rejects, from files spread evenly over an output; each is read once."""

import io
import json
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpusmill.pipeline.output.folder import OutputFolder
from corpusmill.pipeline.output.manifest import CURRENT
from corpusmill.pipeline.output.sinks import SINKS

FILES_READ = 48
REJECT_FILES_READ = 48
REJECTS_PER_REASON = 3
"""Rejected rows shown per reason."""
RAW_LENGTH = 300
"""Characters shown of a rejected row."""


@dataclass(frozen=True)
class ReportSample:
    """Rows of some files, without those of stale inputs; `files` of `of_files` were read."""

    table: pa.Table | None
    files: int
    of_files: int


@dataclass(frozen=True, slots=True)
class RejectReason:
    """A reason for rejects, with their number in the sample, and some of them as (file, row, raw)."""

    reason: str
    count: int
    rows: tuple[tuple[str, int, str], ...]


def current_units(folder: OutputFolder) -> list[str]:
    """Return the current units of the manifest, or all committed units if there is no manifest yet."""
    if not folder.exists(folder.manifest):
        return sorted(folder.committed())
    table = pq.read_table(io.BytesIO(folder.read(folder.manifest)), columns=["unit", "state"])
    return list(table.filter(pc.equal(table["state"], CURRENT))["unit"].to_pylist())


def sampled_rows(folder: OutputFolder, units: list[str]) -> ReportSample:
    """Return the rows of files spread evenly over an output."""
    sink = next(sink for sink in SINKS.values() if sink.suffix == folder.suffix)
    step = max(1, len(units) // FILES_READ)
    chosen = units[::step][:FILES_READ]
    tables = [sink.read(io.BytesIO(folder.read(folder.data(unit)))) for unit in chosen]
    filled = [table.replace_schema_metadata(None) for table in tables if table.num_rows]
    # Dictionaries and a column's quantization metadata can differ between files.
    table = pa.concat_tables(filled, promote_options="permissive").unify_dictionaries() if filled else None
    return ReportSample(table, len(chosen), len(units))


def sampled_rejects(
    folder: OutputFolder, units: list[str], rng: np.random.Generator
) -> tuple[RejectReason, ...]:
    """Count the reasons in files spread evenly over all rejects, and choose rows of each at random."""
    wanted = set(units)
    names = [name for name in folder.names("rejects") if name.removesuffix(".jsonl") in wanted]
    found: dict[str, list[tuple[str, int, str]]] = {}
    counts: Counter[str] = Counter()
    for name in names[:: max(1, len(names) // REJECT_FILES_READ)][:REJECT_FILES_READ]:
        for line in folder.read(folder.rejects(name.removesuffix(".jsonl"))).splitlines():
            row = json.loads(line)
            counts[row["reason"]] += 1
            found.setdefault(row["reason"], []).append((row["file"], row["row"], row["raw"][:RAW_LENGTH]))
    return tuple(
        RejectReason(
            reason,
            count,
            tuple(found[reason][i] for i in _random_indices(len(found[reason]), REJECTS_PER_REASON, rng)),
        )
        for reason, count in counts.most_common(20)
    )


def random_rows(table: pa.Table, count: int, rng: np.random.Generator) -> pa.Table:
    """Return random rows, in their order."""
    return table.take(pa.array(_random_indices(table.num_rows, count, rng)))


def _random_indices(of: int, count: int, rng: np.random.Generator) -> list[int]:
    return sorted(int(i) for i in rng.choice(of, min(of, count), replace=False))
