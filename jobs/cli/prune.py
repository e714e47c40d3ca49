"""`prune`: data files of inputs that were changed or removed."""

from typing import Annotated

import typer

from corpusmill.jobs.cli.guard import guarded, print_result
from corpusmill.jobs.cli.options import DEBUG, JSON


def prune(
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="A job's output folder.")],
    yes: Annotated[
        bool, typer.Option("--yes", help="Remove the files; without it, they are only shown.")
    ] = False,
    as_json: JSON = False,
    debug: DEBUG = False,
) -> None:
    """Show, and with --yes remove, the data files of inputs that were changed or removed.

    Example: corpusmill prune ./out/reviews --yes
    """

    def act() -> None:
        from corpusmill.jobs.verify.prune import prune as prune_output
        from corpusmill.jobs.verify.prune import prune_lines

        print_result(prune_output(output, remove=yes), prune_lines, as_json=as_json)

    guarded(act, debug=debug)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(prune)
