"""`status`: how a job stands, by its submission's id."""

import re
from pathlib import Path
from typing import Annotated

import typer

from corpusmill.jobs.commands.guard import guarded, printed
from corpusmill.jobs.commands.options import DEBUG, JSON


def status(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="The id that `submit` printed.")],
    address: Annotated[
        str | None, typer.Option(metavar="URL", help="The cluster, where the id was submitted elsewhere.")
    ] = None,
    as_json: JSON = False,
    debug: DEBUG = False,
) -> None:
    """Show how a job stands: from its cluster and its output, or its output alone once the cluster is gone.

    Example: corpusmill status reviews-20261126-020000-1f3a
    """

    def act() -> None:
        if not names_submission(target):
            raise typer.BadParameter(f"expected the id of a submission, got {target!r}", param_hint="TARGET")
        from corpusmill.jobs.submission.status import status as submission_status
        from corpusmill.jobs.submission.status import status_lines

        printed(submission_status(target, address), status_lines, as_json=as_json)

    guarded(act, debug=debug)


def names_submission(target: str) -> bool:
    """Say whether a target is a submission's id: no path or URL, and no folder of that name."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", target) is not None and not Path(target).exists()


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(status)
