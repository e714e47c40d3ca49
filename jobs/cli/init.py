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
            metavar="[FILES]...", help="Data: files, folders, globs, URLs; without any, a template."
        ),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(metavar="CHECKPOINT", help="A folder, hf://org/name[@revision], or another URL."),
    ] = None,
    text: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column with the text; default: by its name.")
    ] = None,
    target: Annotated[
        str, typer.Option("--output-file", "-o", metavar="FILE", help="Where to write; - is standard output.")
    ] = "job.yaml",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    debug: DEBUG = False,
) -> None:
    """Write a commented job file from what is in the data and in the checkpoint.

    Example: corpusmill init data/*.parquet --checkpoint ./model --output-file reviews.yaml
    """

    def act() -> None:
        from corpusmill.jobs.init import job_file, write_job_file

        content = job_file(files or (), checkpoint=checkpoint, text=text)
        if target == "-":
            sys.stdout.write(content)
            return
        write_job_file(content, target, force=force)
        print(f"wrote {target}; read it, then see what it would do: corpusmill plan {shlex.quote(target)}")

    guarded(act, debug=debug)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(init)
