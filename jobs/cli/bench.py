"""`bench`: what this machine does with this program, against its limit."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from corpusmill.jobs.cli.guard import guarded, printed
from corpusmill.jobs.cli.options import DEBUG


def bench(
    theme: Annotated[
        str,
        typer.Argument(metavar="THEME", help="architectures or job."),
    ],
    docs: Annotated[int, typer.Option(metavar="N", help="Documents to measure on.")] = 256,
    corpus: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Parquet with a column text; else the standard library's docs."),
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(metavar="FILE", help="A tokenizer.json; else the bundled one.")
    ] = None,
    architecture: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|DIR", help="A base shape with random weights, or a checkpoint; repeatable."
        ),
    ] = None,
    dtypes: Annotated[str, typer.Option(metavar="A,B", help="Of the model.")] = "float32,bfloat16,int8",
    tokens_per_batch: Annotated[int, typer.Option(metavar="N", help="Tokens of one pass.")] = 2048,
    threads: Annotated[int, typer.Option(metavar="N", help="0: one a core.")] = 0,
    rounds: Annotated[int, typer.Option(metavar="N", help="Runs of each contender, in turn.")] = 3,
    folder: Annotated[str, typer.Option(metavar="DIR", help="Where the page goes.")] = "docs/benchmarks",
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
        printed(measure(theme, settings, folder=Path(folder), command=typed), lambda _: (), as_json=True)

    guarded(act, debug=debug)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(bench)
