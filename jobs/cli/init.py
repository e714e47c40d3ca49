"""`init`: a first job file."""

import shlex
import sys
from typing import Annotated

import typer

from corpusmill.jobs.cli.guard import guarded
from corpusmill.jobs.cli.options import DEBUG


def init(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILES]...",
            help="Input files, folders, globs or URLs; without any, a template is written.",
        ),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(metavar="CHECKPOINT", help="A folder, hf://org/name[@revision], or another URL."),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="The column with the text; default: chosen by its name."),
    ] = None,
    target: Annotated[
        str,
        typer.Option("--output-file", "-o", metavar="FILE", help="The file to write; - is standard output."),
    ] = "job.yaml",
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    debug: DEBUG = False,
) -> None:
    """Write a commented job file for the given data and checkpoint.

    Example: corpusmill init data/*.parquet --checkpoint ./model --output-file reviews.yaml
    """

    def act() -> None:
        from corpusmill.jobs.init import job_file, write_job_file

        content = job_file(files or (), checkpoint=checkpoint, text=text)
        if target == "-":
            sys.stdout.write(content)
            return
        write_job_file(content, target, force=force)
        print(f"wrote {target}; check it, then show its plan with: corpusmill plan {shlex.quote(target)}")

    guarded(act, debug=debug)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(init)
