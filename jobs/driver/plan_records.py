"""The plan of an output, and its stale units: results of inputs that were replaced or removed later.

`_job/plan.jsonl` holds the splits of the current input. `_job/stale.jsonl` holds the splits of stale units
with their state; stale units are kept, and are no part of the plan.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import orjson

from corpusmill.pipeline.errors import OutputError
from corpusmill.pipeline.input.units import Split, split_key
from corpusmill.pipeline.output.append_log import lines_of
from corpusmill.pipeline.output.folder import OutputFolder
from corpusmill.pipeline.output.manifest import REMOVED, REPLACED, Stale
from corpusmill.pipeline.storage import StoredFile

STALE_FILE = "stale.jsonl"

PLAN_FILE = "plan.jsonl"


def read_stale(folder: OutputFolder) -> tuple[Stale, ...]:
    """Return the splits that were marked as stale."""
    if not folder.exists(folder.job(STALE_FILE)):
        return ()
    lines = [dict(line) for line in read_lines(folder, STALE_FILE)]
    return tuple(Stale(state=line.pop("state"), split=split_from(line)) for line in lines)


def write_stale(folder: OutputFolder, stale: Sequence[Stale]) -> None:
    """Write the stale splits; without any, remove the record."""
    lines = [orjson.dumps({**asdict(entry.split), "state": entry.state}) + b"\n" for entry in stale]
    if lines:
        folder.put(folder.job(STALE_FILE), b"".join(lines))
    else:
        folder.remove(folder.job(STALE_FILE))


def still_stale(
    folder: OutputFolder, splits: Sequence[Split], committed: Collection[str]
) -> tuple[Stale, ...]:
    """Return the marked splits that have units and are not in the plan again."""
    keys = _split_keys(committed) - {split.key for split in splits}
    return tuple(entry for entry in read_stale(folder) if entry.split.key in keys)


def stale_splits(
    folder: OutputFolder, splits: Sequence[Split], committed: Collection[str], *, inputs: Collection[str]
) -> tuple[Stale, ...]:
    """Return the splits, of the former plan or stale before, that have units but no place in the plan.

    Such a split is replaced if `inputs`, the current files, has a file of its name; else it is removed.
    """
    before = [entry.split for entry in read_stale(folder)]
    if folder.exists(folder.job(PLAN_FILE)):
        before += read_plan(folder)
    keys = _split_keys(committed) - {split.key for split in splits}
    stale = {split.key: split for split in before if split.key in keys}
    return tuple(Stale(split, REPLACED if split.file.url in inputs else REMOVED) for split in stale.values())


def units_of(stale: Sequence[Stale], units: Collection[str]) -> set[str]:
    """Return the units that are stale."""
    stale_keys = {entry.split.key for entry in stale}
    return {unit for unit in units if split_key(unit) in stale_keys}


def _split_keys(committed: Collection[str]) -> set[str]:
    return {split_key(unit) for unit in committed}


# `_job/plan.jsonl`: the splits of a job's input, one per line; `verify` needs no job file.


def write_plan(folder: OutputFolder, splits: Sequence[Split]) -> None:
    """Write the plan of the current input."""
    folder.put(folder.job(PLAN_FILE), b"".join(orjson.dumps(asdict(split)) + b"\n" for split in splits))


def read_plan(folder: OutputFolder) -> tuple[Split, ...]:
    """Read the plan; a folder without one is an OutputError."""
    if not folder.exists(folder.job(PLAN_FILE)):
        raise OutputError(
            f"{folder.url}: expected the output of a job, found no _job/{PLAN_FILE}; check the path"
        )
    return tuple(split_from(line) for line in read_lines(folder, PLAN_FILE))


def read_lines(folder: OutputFolder, name: str) -> Iterator[dict[str, Any]]:
    """Yield the objects of one of the job's records."""
    with folder.open(folder.job(name)) as stream:
        for line in lines_of(stream):
            yield orjson.loads(line)


def split_from(fields: dict[str, Any]) -> Split:
    """Return the split that a line of a record describes."""
    file = fields.pop("file")
    return Split(file=StoredFile(**file), **fields)
