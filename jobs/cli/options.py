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
    typer.Option(metavar="ADDRESS", help="A running Ray cluster; without it, a local one is started."),
]
RUN_DATE = Annotated[
    str | None,
    typer.Option(metavar="YYYY-MM-DD", help="The date for {run_date} in output.path; default: today."),
]
INCREMENTAL = Annotated[
    bool,
    typer.Option("--incremental", help="Allow changed and removed inputs; mark their old results as stale."),
]
RATE = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[MODEL=]N", help="Tokens per second of one worker; without it, plan measures the rate."
    ),
]
PRICE = Annotated[
    float | None, typer.Option(metavar="P", min=0.0, help="The price of one worker for one hour.")
]
EXECUTOR = Annotated[
    str, typer.Option(metavar="ray|inline", help="inline: one process without Ray, for small inputs.")
]
Executor = Literal["ray", "inline"]


def parse_executor(name: str) -> Executor:
    """Return the executor of this name; any other name is a usage error."""
    known: dict[str, Executor] = {"ray": "ray", "inline": "inline"}
    if name not in known:
        raise typer.BadParameter(f"expected ray or inline, got {name!r}", param_hint="--executor")
    return known[name]


def date_or_today(text: str | None) -> date:
    """Return the date given, or today's."""
    from corpusmill.jobs.config.dates import parse_date

    return parse_date(text) if text else date.today()


def parse_rates(given: Sequence[str]) -> dict[str, float]:
    """Return rates by model, "" for all models; anything else is a usage error."""
    rates = {}
    for text in given:
        model, _, number = text.rpartition("=")
        try:
            rates[model] = float(number)
        except ValueError:
            rates[model] = 0.0
        if not 0 < rates[model] < float("inf"):
            raise typer.BadParameter(
                f"expected a number of tokens per second, or MODEL=number, got {text!r}", param_hint="--rate"
            )
    return rates
