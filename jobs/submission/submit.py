"""Sending a job to a cluster."""

import re
import secrets
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from corpusmill.jobs.config import JobConfig
from corpusmill.jobs.placement import dated, placed
from corpusmill.jobs.submission.jobs_api import JobsApi
from corpusmill.jobs.submission.package import command, stage, version
from corpusmill.jobs.submission.problems import SubmissionError
from corpusmill.jobs.submission.records import NAME, Submission, note

JOB, OUTPUT, VERSION = "corpusmill_job", "corpusmill_output", "corpusmill_version"
"""Names of the metadata that a submission carries on the cluster."""


@dataclass(frozen=True, slots=True)
class Package:
    """Which corpusmill the cluster runs: this version from an index, a wheel, or what is installed there."""

    wheel: str | None = None
    installed: bool = False


def submit(
    config: JobConfig,
    address: str,
    *,
    package: Package = Package(),
    submission: str | None = None,
    run_date: date | None = None,
) -> Submission:
    """Send a job to a cluster and note it; SubmissionError where its output is being written already.

    Relative paths are taken from the current folder. An id given as `submission` can be used once, so that a
    command that is repeated does not start a job twice. `run_date`, today if not given, is what `{run_date}`
    in the output's path stands for.
    """
    config = placed(config)
    day = run_date or date.today()
    output = dated(config, day).output.path
    if submission is not None and not NAME.fullmatch(submission):
        raise SubmissionError(f"expected letters, digits, ., _ and -, got {submission!r}").at("--id")
    api = JobsApi(address)
    chosen = submission or _new_id(config.name)
    _check_free(api, chosen, output)
    metadata = {JOB: config.name, OUTPUT: output, VERSION: version()}
    with tempfile.TemporaryDirectory(prefix="corpusmill-submit-") as folder:
        environment = stage(Path(folder), config, wheel=package.wheel, installed=package.installed)
        api.submit(chosen, command(config, day), environment, metadata)
    made = Submission(chosen, config.name, api.address, output, round(time.time(), 3))
    note(made)
    return made


def _new_id(name: str) -> str:
    stem = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower() or "job"
    return f"{stem}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"


def _check_free(api: JobsApi, submission: str, output: str) -> None:
    """Refuse an id that is taken, and a second job into an output that one is writing."""
    for job in api.all():
        if job.id == submission:
            raise SubmissionError(
                f"{submission}: was submitted already and is {job.state}; expected an id that is new to the "
                "cluster, or none"
            ).at("--id")
        if not job.over and job.metadata.get(OUTPUT) == output:
            raise SubmissionError(
                f"{output}: {job.id} is {job.state} and writes there; follow it with: corpusmill logs "
                f"{job.id} --follow, or end it with: corpusmill cancel {job.id}"
            )
