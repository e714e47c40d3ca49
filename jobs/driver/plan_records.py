"""Units of inputs that were replaced or removed since they were computed: kept, marked, no part of the plan.

`_job/stale.jsonl` holds their splits, as `_job/plan.jsonl` does those of the current input, with their state.
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
    """Return the splits that were marked as stale; none where nothing ever was."""
    if not folder.exists(folder.job(STALE_FILE)):
        return ()
    lines = [dict(line) for line in read_lines(folder, STALE_FILE)]
    return tuple(Stale(state=line.pop("state"), split=split_of(line)) for line in lines)


def write_stale(folder: OutputFolder, stale: Sequence[Stale]) -> None:
    """Note which splits are stale; without any there is no record."""
    lines = [orjson.dumps({**asdict(one.split), "state": one.state}) + b"\n" for one in stale]
    if lines:
        folder.put(folder.job(STALE_FILE), b"".join(lines))
    else:
        folder.remove(folder.job(STALE_FILE))


def known_stale(
    folder: OutputFolder, splits: Sequence[Split], committed: Collection[str]
) -> tuple[Stale, ...]:
    """Return what was marked before, has units, and is not in the plan again."""
    wanted = _kept(committed) - {split.key for split in splits}
    return tuple(one for one in read_stale(folder) if one.split.key in wanted)


def stale_splits(
    folder: OutputFolder, splits: Sequence[Split], committed: Collection[str], *, inputs: Collection[str]
) -> tuple[Stale, ...]:
    """Return what is stale now: of the plan before and of what was stale already, all that has units but no
    place in the plan. It is replaced where `inputs`, the current files, still has one of its name.
    """
    before = [one.split for one in read_stale(folder)]
    if folder.exists(folder.job(PLAN_FILE)):
        before += read_plan(folder)
    wanted = _kept(committed) - {split.key for split in splits}
    found = {split.key: split for split in before if split.key in wanted}
    return tuple(Stale(split, REPLACED if split.file.url in inputs else REMOVED) for split in found.values())


def units_of(stale: Sequence[Stale], units: Collection[str]) -> set[str]:
    """Return the units that are stale."""
    keys = {one.split.key for one in stale}
    return {unit for unit in units if split_key(unit) in keys}


def _kept(committed: Collection[str]) -> set[str]:
    return {split_key(unit) for unit in committed}


# `_job/plan.jsonl`: the splits of a job's input, one a line, for checking an output without its job file.


def write_plan(folder: OutputFolder, splits: Sequence[Split]) -> None:
    """Write the plan of the current input."""
    folder.put(folder.job(PLAN_FILE), b"".join(orjson.dumps(asdict(split)) + b"\n" for split in splits))


def read_plan(folder: OutputFolder) -> tuple[Split, ...]:
    """Read the plan back; an OutputError where there is none."""
    if not folder.exists(folder.job(PLAN_FILE)):
        raise OutputError(
            f"{folder.url}: expected the output of a job, found no _job/{PLAN_FILE}; check the path"
        )
    return tuple(split_of(line) for line in read_lines(folder, PLAN_FILE))


def read_lines(folder: OutputFolder, name: str) -> Iterator[dict[str, Any]]:
    """Yield the objects of one of the job's records."""
    with folder.open(folder.job(name)) as stream:
        for line in lines_of(stream):
            yield orjson.loads(line)


def split_of(fields: dict[str, Any]) -> Split:
    """Make a split of what a record says of it."""
    file = fields.pop("file")
    return Split(file=StoredFile(**file), **fields)
