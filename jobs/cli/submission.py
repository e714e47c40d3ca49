"""`submit`, `list`, `status`, `logs` and `cancel`: jobs on a Ray cluster."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from corpusmill.jobs.cli.guard import guarded, print_result
from corpusmill.jobs.cli.options import DEBUG, JOB, JSON, RUN_DATE, SET, date_or_today

if TYPE_CHECKING:
    from corpusmill.jobs.submission.status import SubmissionStatus
    from corpusmill.jobs.submission.submit import Submission

DASHBOARD = "http://127.0.0.1:8265"
API = Annotated[
    str,
    typer.Option(
        metavar="URL", envvar="RAY_API_SERVER_ADDRESS", help="The cluster's dashboard: http://head:8265."
    ),
]
ID_ADDRESS = Annotated[
    str | None, typer.Option(metavar="URL", help="The cluster, if the id was submitted from another machine.")
]
ID = Annotated[str, typer.Argument(metavar="ID", help="The id that `submit` printed.")]


@dataclass(frozen=True, slots=True)
class SubmissionList:
    """The output of `list`."""

    submissions: "tuple[SubmissionStatus, ...]"


def submit(
    job: JOB,
    set_: SET = None,
    address: API = DASHBOARD,
    wheel: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.whl",
            help="Send this wheel of corpusmill along; default: the same version from the package index.",
        ),
    ] = None,
    installed: Annotated[
        bool, typer.Option("--installed", help="Use the corpusmill that is installed on the cluster.")
    ] = False,
    id_: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="An id of your own; it can be used once.")
    ] = None,
    run_date: RUN_DATE = None,
    as_json: JSON = False,
    debug: DEBUG = False,
) -> None:
    """Send a job to a Ray cluster and print its id. Submitting a job again continues it.

    Example: corpusmill submit reviews.yaml --address http://head:8265
    """

    def act() -> None:
        from corpusmill.jobs import JobConfig
        from corpusmill.jobs.config.dates import (
            check_placeholders,
            local_paths,
            with_absolute_paths,
            with_run_date,
        )
        from corpusmill.jobs.submission.submit import Package
        from corpusmill.jobs.submission.submit import submit as submit_job

        config = with_absolute_paths(JobConfig.from_yaml(job, set_ or ()))
        check_placeholders(config, job)
        day = date_or_today(run_date)
        sent = submit_job(config, address, package=Package(wheel, installed), submission=id_, run_date=day)
        for path in local_paths(with_run_date(config, day)):
            print(f"note: every node of the cluster must have {path}", file=sys.stderr)
        print_result(sent, _id_line, as_json=as_json)

    guarded(act, debug=debug)


def list_(address: API = DASHBOARD, as_json: JSON = False, debug: DEBUG = False) -> None:
    """List the jobs that were submitted to a cluster, newest first.

    Example: corpusmill list --address http://head:8265
    """

    def act() -> None:
        from corpusmill.jobs.submission.status import submissions

        print_result(SubmissionList(submissions(address)), _submission_lines, as_json=as_json)

    guarded(act, debug=debug)


def logs(
    submission: ID,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print new output until the job ends.")
    ] = False,
    address: ID_ADDRESS = None,
    debug: DEBUG = False,
) -> None:
    """Print the log of a submitted job.

    Example: corpusmill logs reviews-20261126-020000-1f3a --follow
    """

    def act() -> None:
        from corpusmill.jobs.submission.jobs_api import JobsApi
        from corpusmill.jobs.submission.status import api_address

        api = JobsApi(api_address(submission, address))
        if not follow:
            print(api.logs(submission), end="")
            return
        for chunk in api.follow(submission):
            print(chunk, end="", flush=True)

    guarded(act, debug=debug)


def cancel(submission: ID, address: ID_ADDRESS = None, as_json: JSON = False, debug: DEBUG = False) -> None:
    """End a submitted job; committed units stay, and submitting the job again continues it.

    Example: corpusmill cancel reviews-20261126-020000-1f3a
    """

    def act() -> None:
        from corpusmill.jobs.submission.status import cancel as cancel_job
        from corpusmill.jobs.submission.status import status_lines

        print_result(cancel_job(submission, address), status_lines, as_json=as_json)

    guarded(act, debug=debug)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(submit)
    app.command("list")(list_)
    app.command()(logs)
    app.command()(cancel)


def _id_line(submission: "Submission") -> Iterator[str]:
    yield submission.id


def _submission_lines(submission_list: SubmissionList) -> Iterator[str]:
    for job in submission_list.submissions:
        started = "" if job.started is None else f"{datetime.fromtimestamp(job.started, UTC):%Y-%m-%d %H:%M}"
        yield f"{job.id:40} {job.state:10} {started:17} {job.rows:>14,} rows  {job.output}"
    if not submission_list.submissions:
        yield "nothing was submitted to this cluster"
