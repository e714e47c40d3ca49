"""A job file for the commands that run on this machine: all its problems are found at once."""

from collections.abc import Sequence
from datetime import date

from corpusmill.jobs.config.dates import with_run_date
from corpusmill.jobs.config.schema import JobConfig, read_job_file
from corpusmill.jobs.errors import ConfigError, Problem
from corpusmill.jobs.resolve.job import problems_of


def load_job(path: str, overrides: Sequence[str] = (), *, run_date: date) -> JobConfig:
    """Load a job file.

    A file with faults of form is a ConfigError, which also lists the problems of the rest: inputs,
    checkpoints, output. Without such faults the rest is left to `resolve`.
    """
    reading = read_job_file(path, overrides)
    if reading.job is None or reading.problems:
        rest: list[Problem] = []
        if job := reading.job:
            rest = problems_of(with_run_date(job, run_date), reading.unread, template=job.output.path)
        raise ConfigError([*reading.problems, *rest], path)
    return reading.job
