"""`bench`: the speed of this program on this machine, compared with the limit of the machine."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from corpusmill.jobs.cli.guard import guarded, print_result
from corpusmill.jobs.cli.options import DEBUG


def bench(
    theme: Annotated[
        str,
        typer.Argument(metavar="THEME", help="architectures or job."),
    ],
    docs: Annotated[int, typer.Option(metavar="N", help="Documents to measure on.")] = 256,
    corpus: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Parquet with a column text; default: the standard library's docs."
        ),
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(metavar="FILE", help="A tokenizer.json; default: the bundled one.")
    ] = None,
    architecture: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|DIR",
            help="An architecture in base size with random weights, or a checkpoint; repeatable.",
        ),
    ] = None,
    dtypes: Annotated[
        str, typer.Option(metavar="A,B", help="The dtypes to measure.")
    ] = "float32,bfloat16,int8",
    tokens_per_batch: Annotated[int, typer.Option(metavar="N", help="Tokens of one batch.")] = 2048,
    threads: Annotated[int, typer.Option(metavar="N", help="CPU threads; 0: one per core.")] = 0,
    rounds: Annotated[int, typer.Option(metavar="N", help="Runs of each variant, in turn.")] = 3,
    folder: Annotated[str, typer.Option(metavar="DIR", help="The folder for the page.")] = "docs/benchmarks",
    debug: DEBUG = False,
) -> None:
    """Measure this machine; print one JSON object and write a page.

    Example: corpusmill bench architectures --docs 64 --threads 1
    """

    def act() -> None:
        from corpusmill.jobs.bench import Settings
        from corpusmill.jobs.bench import bench as measure

        settings = Settings(
            documents=docs,
            corpus=corpus,
            tokenizer=tokenizer,
            architectures=tuple(architecture or ()),
            dtypes=tuple(dtypes.split(",")),
            tokens_per_batch=tokens_per_batch,
            threads=threads,
            rounds=rounds,
        )
        typed = shlex.join(["corpusmill", *sys.argv[1:]])
        print_result(measure(theme, settings, folder=Path(folder), command=typed), lambda _: (), as_json=True)

    guarded(act, debug=debug)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(bench)
