"""The steps of a run before its first row: reserve the output, and find the units that are left to do."""

from corpusmill.jobs.driver.fingerprint import check_same_job, fingerprint, write_fingerprint
from corpusmill.jobs.driver.plan_records import (
    read_stale,
    stale_splits,
    still_stale,
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


def prepare_output(
    folder: OutputFolder, job: ResolvedJob, *, incremental: bool
) -> tuple[Remaining, dict[str, Receipt], tuple[Stale, ...]]:
    """Reserve the folder for this job; return the work left, the receipts of done units, and stale splits."""
    parts = fingerprint(job)
    continued = check_same_job(folder, parts)
    folder.sweep()
    committed = folder.committed()
    inputs = {file.url for file in job.files}
    stale = (
        stale_splits(folder, job.splits, committed, inputs=inputs)
        if incremental
        else still_stale(folder, job.splits, committed)
    )
    committed -= units_of(stale, committed)
    unit_receipts = _receipts(folder, committed)
    work = remaining(job.splits, committed, unit_receipts)
    if not continued:
        write_fingerprint(folder, parts)
    if work.pending or stale != read_stale(folder):
        _reopen(folder)
    write_stale(folder, stale)
    folder.put(folder.job("job.yaml"), job.config.to_yaml().encode())
    write_plan(folder, job.splits)
    return work, unit_receipts, stale


def _receipts(folder: OutputFolder, committed: set[str]) -> dict[str, Receipt]:
    """Return the receipts of all data files; a file under the name of another unit is an OutputError."""
    unit_receipts = receipts(folder, committed)
    for unit, receipt in unit_receipts.items():
        if receipt.record.unit != unit:
            raise OutputError(
                f"{folder.data(unit)}: expected unit {unit}, got a copy of unit {receipt.record.unit}; "
                "move it away and run the same command again"
            )
    return unit_receipts


def _reopen(folder: OutputFolder) -> None:
    """Remove the manifest of a finished output: with more work it is unfinished again."""
    folder.remove(folder.manifest)
