"""How a submission stands: from the cluster and from its output, or from the output alone."""

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow.parquet as pq

from corpusmill.jobs.driver.owner import read_owner
from corpusmill.jobs.errors import SubmissionError
from corpusmill.jobs.submission.jobs_api import ClusterJob, JobsApi
from corpusmill.jobs.submission.submit import JOB, OUTPUT, Submission, find
from corpusmill.pipeline.output.folder import OutputFolder
from corpusmill.pipeline.output.manifest import CURRENT, noted_receipts

POLL = 0.5


@dataclass(frozen=True, slots=True)
class SubmissionStatus:
    """A submission's state and what its output holds so far.

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
    """Return how a submission stands; SubmissionError where neither this machine nor the cluster knows it."""
    noted = find(submission)
    try:
        job = JobsApi(api_address(submission, address)).job(submission)
    except SubmissionError as error:  # nothing answers, or another cluster that was started at the address
        if noted is None:
            raise
        return _from_output(noted, str(error))
    return _status(job, noted, api_address(submission, address))


def submissions(address: str) -> tuple[SubmissionStatus, ...]:
    """Return the corpusmill submissions of a cluster, newest first."""
    return tuple(_status(job, find(job.id), address) for job in JobsApi(address).all() if JOB in job.metadata)


def cancel(submission: str, address: str | None = None, *, patience: float = 90.0) -> SubmissionStatus:
    """End a submission and wait until it has; what it committed stays."""
    api = JobsApi(api_address(submission, address))
    api.stop(submission)
    deadline = time.monotonic() + patience
    while not api.job(submission).over and time.monotonic() < deadline:
        time.sleep(POLL)
    return status(submission, address)


def api_address(submission: str, address: str | None) -> str:
    """Return the address given, else the one that a submission was sent to."""
    noted = find(submission)
    if address is None and noted is None:
        raise SubmissionError(
            f"{submission}: no submission of this name was made from here; expected an id that `corpusmill "
            "submit` printed, or --address with the cluster that knows it"
        )
    return address or (noted.address if noted is not None else "")


def _status(job: ClusterJob, noted: Submission | None, address: str) -> SubmissionStatus:
    output = job.metadata.get(OUTPUT) or (noted.output if noted else "")
    name = job.metadata.get(JOB) or (noted.job if noted else "")
    held = _holds(output)
    return SubmissionStatus(
        job.id, name, job.state, "cluster", job.message, address, output, job.started, job.ended, *held
    )


def _from_output(noted: Submission, message: str) -> SubmissionStatus:
    units, rows, rejected, complete = _holds(noted.output)
    owner = read_owner(_folder(noted.output))
    running = owner is not None and not owner.is_dead(time.time())
    state = "succeeded" if complete else "running" if running else "stopped"
    return SubmissionStatus(
        noted.id,
        noted.job,
        state,
        "output",
        message,
        noted.address,
        noted.output,
        noted.submitted,
        None,
        units,
        rows,
        rejected,
        complete,
    )


def _holds(output: str) -> tuple[int, int, int, bool]:
    """Return units, rows, rejects of an output, and whether it is finished; before that, as noted so far."""
    folder = _folder(output)
    if folder.exists(folder.manifest):
        rows = pq.read_table(io.BytesIO(folder.read(folder.manifest))).to_pylist()
        counts = [(row["rows"], row["rejected"]) for row in rows if row["state"] == CURRENT]
        complete = True
    else:
        noted = noted_receipts(folder).values()
        counts = [(receipt.record.rows, receipt.record.rejected) for receipt in noted]
        complete = False
    return len(counts), sum(rows for rows, _ in counts), sum(rejected for _, rejected in counts), complete


def _folder(output: str) -> OutputFolder:
    # The records asked for here have the same names whatever the format of the data files.
    return OutputFolder.of(output, "arrow")


def status_lines(found: SubmissionStatus) -> Sequence[str]:
    """Return what people read of a submission."""
    source = "" if found.told_by == "cluster" else " (the cluster does not answer; by its output)"
    lines = [
        f"{found.id}: {found.state}{source}",
        f"  {found.rows:,} rows, {found.rejected:,} rejected in {found.units:,} units -> {found.output}",
    ]
    if found.message and found.told_by == "cluster" and found.state != "running":
        lines.append(f"  {found.message.splitlines()[-1]}")
    return lines
