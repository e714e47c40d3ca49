"""Rows of an output for a page to look at: some files spread over all of them, each read once."""

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

FILES = 48
REJECT_FILES = 48
SAMPLES = 3
"""Rejected rows shown of each reason."""
RAW = 300
"""Characters shown of one."""


@dataclass(frozen=True)
class Sample:
    """Rows of some of the files, without those of stale inputs; `files` of `of_files` were read."""

    table: pa.Table | None
    files: int
    of_files: int


@dataclass(frozen=True, slots=True)
class Rejects:
    """A reason why rows were rejected, how many of the sample, and some of them."""

    reason: str
    count: int
    rows: tuple[tuple[str, int, str], ...]


def current_units(folder: OutputFolder) -> list[str]:
    """Return the units that count: those of the manifest, or where there is none yet all that are there."""
    if not folder.exists(folder.manifest):
        return sorted(folder.committed())
    table = pq.read_table(io.BytesIO(folder.read(folder.manifest)), columns=["unit", "state"])
    return list(table.filter(pc.equal(table["state"], CURRENT))["unit"].to_pylist())


def sampled_rows(folder: OutputFolder, units: list[str]) -> Sample:
    """Read files spread over an output."""
    sink = next(sink for sink in SINKS.values() if sink.suffix == folder.suffix)
    step = max(1, len(units) // FILES)
    chosen = units[::step][:FILES]
    tables = [sink.read(io.BytesIO(folder.read(folder.data(unit)))) for unit in chosen]
    filled = [table.replace_schema_metadata(None) for table in tables if table.num_rows]
    # Dictionaries differ from file to file, and so may the metadata of a column's quantization.
    table = pa.concat_tables(filled, promote_options="permissive").unify_dictionaries() if filled else None
    return Sample(table, len(chosen), len(units))


def sampled_rejects(folder: OutputFolder, units: list[str], rng: np.random.Generator) -> tuple[Rejects, ...]:
    """Count reasons in files spread over all rejects, and pick rows of each."""
    wanted = set(units)
    names = [name for name in folder.names("rejects") if name.removesuffix(".jsonl") in wanted]
    found: dict[str, list[tuple[str, int, str]]] = {}
    counts: Counter[str] = Counter()
    for name in names[:: max(1, len(names) // REJECT_FILES)][:REJECT_FILES]:
        for line in folder.read(folder.rejects(name.removesuffix(".jsonl"))).splitlines():
            row = json.loads(line)
            counts[row["reason"]] += 1
            found.setdefault(row["reason"], []).append((row["file"], row["row"], row["raw"][:RAW]))
    return tuple(
        Rejects(reason, count, tuple(found[reason][i] for i in _picked(len(found[reason]), SAMPLES, rng)))
        for reason, count in counts.most_common(20)
    )


def picked_rows(table: pa.Table, count: int, rng: np.random.Generator) -> pa.Table:
    """Return rows picked at random, in their order."""
    return table.take(pa.array(_picked(table.num_rows, count, rng)))


def _picked(of: int, count: int, rng: np.random.Generator) -> list[int]:
    return sorted(int(i) for i in rng.choice(of, min(of, count), replace=False))
