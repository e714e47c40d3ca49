"""`status`: how a job stands, by its submission's id or its output."""

import re
from pathlib import Path
from typing import Annotated

import typer

from corpusmill.jobs.cli.guard import guarded, printed
from corpusmill.jobs.cli.options import DEBUG, JSON


def status(
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="An output folder, or the id that `submit` printed.")
    ],
    address: Annotated[
        str | None, typer.Option(metavar="URL", help="The cluster, where the id was submitted elsewhere.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Of an output: go on until its run ends.")] = False,
    as_json: JSON = False,
    debug: DEBUG = False,
) -> None:
    """Show how a job stands: an output by its own records, wherever it runs; a submission by its cluster too.

    Example: corpusmill status ./out/reviews --watch
    """

    def act() -> None:
        if not names_submission(target):
            _output(target, watch=watch, as_json=as_json)
            return
        if watch:
            raise typer.BadParameter("expected an output folder with --watch", param_hint="TARGET")
        from corpusmill.jobs.submission.status import status as submission_status
        from corpusmill.jobs.submission.status import status_lines

        printed(submission_status(target, address), status_lines, as_json=as_json)

    guarded(act, debug=debug)


def _output(target: str, *, watch: bool, as_json: bool) -> None:
    from corpusmill.jobs.progress.status import status as output_status
    from corpusmill.jobs.progress.status import status_lines
    from corpusmill.jobs.progress.status import watch as watch_output

    if watch and not as_json:
        watch_output(target)
    else:
        printed(output_status(target), status_lines, as_json=as_json)


def names_submission(target: str) -> bool:
    """Say whether a target is a submission's id: no path or URL, and no folder of that name."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", target) is not None and not Path(target).exists()


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(status)
