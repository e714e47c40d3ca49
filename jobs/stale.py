"""Units of inputs that were replaced or removed since they were computed: kept, marked, no part of the plan.

`_job/stale.jsonl` holds their splits, as `_job/plan.jsonl` does those of the current input, with their state.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict

import orjson

from corpusmill.jobs.plan_file import FILE as PLAN
from corpusmill.jobs.plan_file import read_lines, read_plan, split_of
from corpusmill.pipeline.manifest import REMOVED, REPLACED, Stale
from corpusmill.pipeline.output import OutputFolder
from corpusmill.pipeline.units import Split, split_key

FILE = "stale.jsonl"


def read_stale(folder: OutputFolder) -> tuple[Stale, ...]:
    """Return the splits that were marked as stale; none where nothing ever was."""
    if not folder.exists(folder.job(FILE)):
        return ()
    lines = [dict(line) for line in read_lines(folder, FILE)]
    return tuple(Stale(state=line.pop("state"), split=split_of(line)) for line in lines)


def write_stale(folder: OutputFolder, stale: Sequence[Stale]) -> None:
    """Note which splits are stale; without any there is no record."""
    lines = [orjson.dumps({**asdict(one.split), "state": one.state}) + b"\n" for one in stale]
    if lines:
        folder.put(folder.job(FILE), b"".join(lines))
    else:
        folder.remove(folder.job(FILE))


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
    if folder.exists(folder.job(PLAN)):
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
