"""`report`: an HTML page about an output."""

import sys
from typing import Annotated

import typer

from corpusmill.jobs.cli.guard import guarded, print_result
from corpusmill.jobs.cli.options import DEBUG, JSON


def report(
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="A job's output folder.")],
    html: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="The file to write; default: _job/report.html of the output."),
    ] = None,
    as_json: JSON = False,
    debug: DEBUG = False,
) -> None:
    """Write an HTML page about an output: the run, its results, rejects, rows. It needs no network.

    Example: corpusmill report ./out/reviews --html reviews.html
    """

    def act() -> None:
        from corpusmill.jobs.report.write import report as write_report
        from corpusmill.jobs.report.write import report_lines

        print_result(write_report(output, html), report_lines, as_json=as_json)

    guarded(act, debug=debug)


def report_after_run(output: str) -> None:
    """Write a finished output's report; print a warning if it cannot be written."""
    from corpusmill.jobs.report.write import report as write_report

    try:
        write_report(output)
    except Exception as error:
        print(f"warning: no report was written ({type(error).__name__}: {error})", file=sys.stderr)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(report)
