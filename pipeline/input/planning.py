"""From input files to splits, and the work that is left: the plan without the units in `data/`."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa

from corpusmill.pipeline.errors import OutputError
from corpusmill.pipeline.input.listing import file_format
from corpusmill.pipeline.input.readers import READERS
from corpusmill.pipeline.input.schema import FileSchema
from corpusmill.pipeline.input.unit_size import UnitSizing
from corpusmill.pipeline.input.units import Split, split_key
from corpusmill.pipeline.output.receipts import Receipt
from corpusmill.pipeline.spec import InputSpec
from corpusmill.pipeline.storage import StoredFile

LISTING_THREADS = 16


@dataclass(frozen=True)
class Pending:
    """A split that is not finished, and the offsets of its units that are already committed."""

    split: Split
    skip: frozenset[int]

    @property
    def rows(self) -> int:
        """The rows that are left, as far as is known before they are read."""
        return max(0, self.split.about_rows - len(self.skip) * self.split.rows_per_unit)


@dataclass(frozen=True)
class Remaining:
    """The work of a run: the unfinished splits, and the units that are committed already."""

    pending: tuple[Pending, ...]
    committed: frozenset[str]


def format_of(file: StoredFile, asked: str) -> str:
    """Return the format of a file: the one asked for, or for `auto` the one of its name."""
    return file_format(file.url) if asked == "auto" else asked


def file_schemas(files: Sequence[StoredFile], asked: str, given: pa.Schema | None) -> list[FileSchema]:
    """Return the columns of every file; `given` types replace those inferred from JSONL."""

    def one(file: StoredFile) -> FileSchema:
        name = format_of(file, asked)
        schema = READERS[name].schema(file)
        return file.url, override_types(schema, given) if name == "jsonl" and given is not None else schema

    with ThreadPoolExecutor(LISTING_THREADS) as threads:
        return list(threads.map(one, files))


def override_types(schema: pa.Schema, given: pa.Schema) -> pa.Schema:
    """Replace the types of the given columns, and add given columns that no sample has."""
    fields = {field.name: field for field in schema} | {field.name: field for field in given}
    return pa.schema(list(fields.values()))


def plan_splits(
    files: Sequence[StoredFile], asked: str, spec: InputSpec, sizing: UnitSizing
) -> tuple[Split, ...]:
    """Cut all files into splits, in the order of the files."""

    def one(file: StoredFile) -> list[Split]:
        return READERS[format_of(file, asked)].splits(file, spec.columns, spec.text_columns, sizing)

    with ThreadPoolExecutor(LISTING_THREADS) as threads:
        return tuple(split for found in threads.map(one, files) for split in found)


def remaining(splits: Sequence[Split], committed: Iterable[str], receipts: dict[str, Receipt]) -> Remaining:
    """Return the plan without the committed units; a unit that belongs to no split is an OutputError.

    Such a unit comes from an input that has changed or was removed: beside new units, its rows would count
    twice.
    """
    committed = frozenset(committed)
    done: dict[str, set[int]] = {split.key: set() for split in splits}
    by_key = {split.key: split for split in splits}
    unknown = []
    for unit in committed:
        key = split_key(unit)
        offset = by_key[key].offset_of(unit) if key in by_key else None
        if offset is None:
            unknown.append(unit)
        else:
            done[key].add(offset)
    if unknown:
        raise _unknown_units(sorted(unknown), receipts)
    pending = tuple(
        Pending(split, frozenset(done[split.key]))
        for split in splits
        if not _finished(split, done[split.key], receipts)
    )
    return Remaining(pending, committed)


def _unknown_units(units: Sequence[str], receipts: dict[str, Receipt]) -> OutputError:
    source = receipts[units[0]].record.source if units[0] in receipts else "an input"
    return OutputError(
        f"the output holds {len(units)} units of inputs that changed or are gone, first {units[0]} "
        f"of {source}; expected the inputs of the first run: restore them, choose another output.path, or "
        "continue with --incremental, which keeps those units as stale"
    ).at("output.path")


def _finished(split: Split, offsets: set[int], receipts: dict[str, Receipt]) -> bool:
    """Return whether all units of a split are committed; if its length is unknown, its last unit is marked.

    A byte range in which no row begins has no unit: it is read again in each run, which takes little time.
    """
    if split.rows is not None:
        return offsets >= set(range(0, split.rows, split.rows_per_unit))
    if not offsets:
        return False
    last = receipts[split.unit(max(offsets)).name].record
    return last.last and offsets == set(range(0, max(offsets) + 1, split.rows_per_unit))
