"""What a run does before the first row: takes the output for its job, and subtracts what is there."""

from corpusmill.jobs.driver.fingerprint import check_same_job, fingerprint, write_fingerprint
from corpusmill.jobs.driver.plan_records import (
    known_stale,
    read_stale,
    stale_splits,
    units_of,
    write_plan,
    write_stale,
)
from corpusmill.jobs.resolve.job import ResolvedJob
from corpusmill.pipeline.errors import OutputError
from corpusmill.pipeline.input.planning import Remaining, remaining
from corpusmill.pipeline.output.folder import OutputFolder
from corpusmill.pipeline.output.manifest import Stale, receipts
from corpusmill.pipeline.output.receipts import Receipt


def claim(
    folder: OutputFolder, job: ResolvedJob, *, incremental: bool
) -> tuple[Remaining, dict[str, Receipt], tuple[Stale, ...]]:
    """Make the folder this job's own; return what is left to do, receipts of what is done, what is stale."""
    parts = fingerprint(job)
    continued = check_same_job(folder, parts)
    folder.sweep()
    committed = folder.committed()
    inputs = {file.url for file in job.files}
    stale = (
        stale_splits(folder, job.splits, committed, inputs=inputs)
        if incremental
        else known_stale(folder, job.splits, committed)
    )
    committed -= units_of(stale, committed)
    found = _receipts(folder, committed)
    todo = remaining(job.splits, committed, found)
    if not continued:
        write_fingerprint(folder, parts)
    if todo.pending or stale != read_stale(folder):
        _reopen(folder)
    write_stale(folder, stale)
    folder.put(folder.job("job.yaml"), job.config.to_yaml().encode())
    write_plan(folder, job.splits)
    return todo, found, stale


def _receipts(folder: OutputFolder, committed: set[str]) -> dict[str, Receipt]:
    """Return the receipts of all data files; a file that is no unit's own is an OutputError."""
    found = receipts(folder, committed)
    for unit, receipt in found.items():
        if receipt.record.unit != unit:
            raise OutputError(
                f"{folder.data(unit)}: expected unit {unit}, got a copy of unit {receipt.record.unit}; "
                "move it away and run the same command again"
            )
    return found


def _reopen(folder: OutputFolder) -> None:
    """Take a finished output's manifest away: with more to do it is unfinished until that is done."""
    folder.remove(folder.manifest)
