"""`status`: the progress of a job, by the id of its submission or by its output."""

import re
from pathlib import Path
from typing import Annotated

import typer

from corpusmill.jobs.cli.guard import guarded, print_result
from corpusmill.jobs.cli.options import DEBUG, JSON


def status(
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="An output folder, or the id that `submit` printed.")
    ],
    address: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The cluster, if the id was submitted from another machine."),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Output folders only: show the progress until the run ends.")
    ] = False,
    as_json: JSON = False,
    debug: DEBUG = False,
) -> None:
    """Show the progress of a job: of any output folder, or of a job that was submitted to a cluster.

    Example: corpusmill status ./out/reviews --watch
    """

    def act() -> None:
        if not is_submission_id(target):
            _output(target, watch=watch, as_json=as_json)
            return
        if watch:
            raise typer.BadParameter("expected an output folder with --watch", param_hint="TARGET")
        from corpusmill.jobs.submission.status import status as submission_status
        from corpusmill.jobs.submission.status import status_lines

        print_result(submission_status(target, address), status_lines, as_json=as_json)

    guarded(act, debug=debug)


def _output(target: str, *, watch: bool, as_json: bool) -> None:
    from corpusmill.jobs.progress.status import status as output_status
    from corpusmill.jobs.progress.status import status_lines
    from corpusmill.jobs.progress.status import watch as watch_output

    if watch and not as_json:
        watch_output(target)
    else:
        print_result(output_status(target), status_lines, as_json=as_json)


def is_submission_id(target: str) -> bool:
    """Return whether a target is a submission's id: no path or URL, and no folder of that name."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", target) is not None and not Path(target).exists()


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(status)
