"""The status of a submission: from the cluster and its output, or from the output only."""

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow.parquet as pq

from corpusmill.jobs.driver.owner import read_owner
from corpusmill.jobs.errors import SubmissionError
from corpusmill.jobs.submission.jobs_api import ClusterJob, JobsApi
from corpusmill.jobs.submission.submit import JOB_KEY, OUTPUT_KEY, Submission, find_note
from corpusmill.pipeline.output.folder import OutputFolder
from corpusmill.pipeline.output.manifest import CURRENT, noted_receipts

POLL = 0.5


@dataclass(frozen=True, slots=True)
class SubmissionStatus:
    """A submission's state and the counts of its output so far.

    `state` is the cluster's: pending, running, succeeded, failed or stopped. `told_by` is "cluster", or
    "output" where the cluster does not answer any more: then a finished output means succeeded, one that a
    living driver writes running, any other stopped.
    """

    id: str
    job: str
    state: str
    told_by: str
    message: str
    address: str
    output: str
    started: float | None
    ended: float | None
    units: int
    rows: int
    rejected: int
    complete: bool


def status(submission: str, address: str | None = None) -> SubmissionStatus:
    """Return the status of a submission; one unknown to this machine and the cluster is a SubmissionError."""
    note = find_note(submission)
    try:
        job = JobsApi(api_address(submission, address)).job(submission)
    except SubmissionError as error:  # no answer, or the address is now that of another cluster
        if note is None:
            raise
        return _from_output(note, str(error))
    return _status(job, note, api_address(submission, address))


def submissions(address: str) -> tuple[SubmissionStatus, ...]:
    """Return the corpusmill submissions of a cluster, newest first."""
    return tuple(
        _status(job, find_note(job.id), address) for job in JobsApi(address).all() if JOB_KEY in job.metadata
    )


def cancel(submission: str, address: str | None = None, *, timeout: float = 90.0) -> SubmissionStatus:
    """End a submission and wait for its end; committed units stay."""
    api = JobsApi(api_address(submission, address))
    api.stop(submission)
    deadline = time.monotonic() + timeout
    while not api.job(submission).has_ended and time.monotonic() < deadline:
        time.sleep(POLL)
    return status(submission, address)


def api_address(submission: str, address: str | None) -> str:
    """Return the address given, else the one that a submission was sent to."""
    note = find_note(submission)
    if address is None and note is None:
        raise SubmissionError(
            f"{submission}: no submission of this name was made from this machine; expected an id that "
            "`corpusmill submit` printed, or --address of the cluster that has it"
        )
    return address or (note.address if note is not None else "")


def _status(job: ClusterJob, note: Submission | None, address: str) -> SubmissionStatus:
    output = job.metadata.get(OUTPUT_KEY) or (note.output if note else "")
    name = job.metadata.get(JOB_KEY) or (note.job if note else "")
    counts = _output_counts(output)
    return SubmissionStatus(
        job.id, name, job.state, "cluster", job.message, address, output, job.started, job.ended, *counts
    )


def _from_output(note: Submission, message: str) -> SubmissionStatus:
    units, rows, rejected, complete = _output_counts(note.output)
    owner = read_owner(_folder(note.output))
    running = owner is not None and not owner.is_dead(time.time())
    state = "succeeded" if complete else "running" if running else "stopped"
    return SubmissionStatus(
        note.id,
        note.job,
        state,
        "output",
        message,
        note.address,
        note.output,
        note.submitted,
        None,
        units,
        rows,
        rejected,
        complete,
    )


def _output_counts(output: str) -> tuple[int, int, int, bool]:
    """Return units, rows and rejects of an output so far, and whether it is finished."""
    folder = _folder(output)
    if folder.exists(folder.manifest):
        rows = pq.read_table(io.BytesIO(folder.read(folder.manifest))).to_pylist()
        counts = [(row["rows"], row["rejected"]) for row in rows if row["state"] == CURRENT]
        complete = True
    else:
        receipts_so_far = noted_receipts(folder).values()
        counts = [(receipt.record.rows, receipt.record.rejected) for receipt in receipts_so_far]
        complete = False
    return len(counts), sum(rows for rows, _ in counts), sum(rejected for _, rejected in counts), complete


def _folder(output: str) -> OutputFolder:
    # The names of these records do not depend on the format of the data files.
    return OutputFolder.of(output, "arrow")


def status_lines(status: SubmissionStatus) -> Sequence[str]:
    """Return the lines that people read."""
    source = "" if status.told_by == "cluster" else " (from its output: the cluster does not answer)"
    lines = [
        f"{status.id}: {status.state}{source}",
        f"  {status.rows:,} rows, {status.rejected:,} rejected in {status.units:,} units -> {status.output}",
    ]
    if status.message and status.told_by == "cluster" and status.state != "running":
        lines.append(f"  {status.message.splitlines()[-1]}")
    return lines
