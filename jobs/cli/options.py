"""Options and arguments that several commands share."""

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Literal

import typer

DEBUG = Annotated[bool, typer.Option("--debug", help="Show tracebacks and Ray's own messages.")]
JSON = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
SET = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="Change a field of the job, e.g. models.0.dtype=bfloat16."),
]
JOB = Annotated[str, typer.Argument(metavar="JOB.yaml", help="The job file.")]
ADDRESS = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="A running Ray cluster; without it a local one is started."),
]
RUN_DATE = Annotated[
    str | None,
    typer.Option(metavar="YYYY-MM-DD", help="What {run_date} in output.path stands for; default: today."),
]
INCREMENTAL = Annotated[
    bool,
    typer.Option("--incremental", help="Inputs may have changed or gone since: mark what was made of them."),
]
RATE = Annotated[
    list[str] | None,
    typer.Option(metavar="[MODEL=]N", help="Tokens a second of one worker, instead of measuring here."),
]
PRICE = Annotated[float | None, typer.Option(metavar="P", min=0.0, help="Of one worker's hour.")]
EXECUTOR = Annotated[
    str, typer.Option(metavar="ray|inline", help="inline: one process without Ray, for a few rows.")
]
Executor = Literal["ray", "inline"]


def executor_named(name: str) -> Executor:
    """Return the executor of a name; a usage error for any other."""
    known: dict[str, Executor] = {"ray": "ray", "inline": "inline"}
    if name not in known:
        raise typer.BadParameter(f"expected ray or inline, got {name!r}", param_hint="--executor")
    return known[name]


def today_or(text: str | None) -> date:
    """Return the date given, or today's."""
    from corpusmill.jobs.config.dates import parse_date

    return parse_date(text) if text else date.today()


def rates_of(given: Sequence[str]) -> dict[str, float]:
    """Return rates by model, "" for all models; a usage error for anything else."""
    found = {}
    for text in given:
        model, _, number = text.rpartition("=")
        try:
            found[model] = float(number)
        except ValueError:
            found[model] = 0.0
        if not 0 < found[model] < float("inf"):
            raise typer.BadParameter(
                f"expected a number of tokens a second, or MODEL=number, got {text!r}", param_hint="--rate"
            )
    return found
