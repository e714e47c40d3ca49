"""The command line: commands on a job and its output; the other commands are in other modules."""

import shlex
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from corpusmill.jobs.cli import bench, init, printing, prune, report, schedule, status, submission
from corpusmill.jobs.cli.guard import guarded as _guarded
from corpusmill.jobs.cli.guard import print_result as _print
from corpusmill.jobs.cli.options import (
    ADDRESS,
    DEBUG,
    EXECUTOR,
    INCREMENTAL,
    JOB,
    JSON,
    PRICE,
    RATE,
    RUN_DATE,
    SET,
    date_or_today,
    parse_rates,
)
from corpusmill.jobs.cli.options import parse_executor as _executor
from corpusmill.jobs.cli.plain_help import PlainTyper
from corpusmill.pipeline.machine import keep_memory

# What a command needs is imported when it acts: `--help` must not wait seconds for torch.

app = PlainTyper(no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False)


def _version(requested: bool) -> None:
    if requested:
        print(f"corpusmill {version('corpusmill')}")
        raise typer.Exit


@app.callback()
def corpusmill(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Compact encoders over Parquet and JSONL corpora on Ray: every row exactly once."""


@app.command()
def run(
    job: JOB,
    set_: SET = None,
    executor: EXECUTOR = "ray",
    address: ADDRESS = None,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Replace another run that writes the same output.")
    ] = False,
    run_date: RUN_DATE = None,
    incremental: INCREMENTAL = False,
    as_json: JSON = False,
    debug: DEBUG = False,
) -> None:
    """Run a job, or continue it: the same command resumes a job that was killed.

    Example: corpusmill run reviews.yaml --set output.path=./out/test
    """
    engine = _executor(executor)

    def act() -> None:
        from corpusmill.jobs import run as run_job
        from corpusmill.jobs.resolve.job import load_job

        today = date_or_today(run_date)
        config = load_job(job, set_ or (), run_date=today)
        result = run_job(
            config,
            executor=engine,
            address=address,
            debug=debug,
            origin=job,
            show_progress=True,
            take_over=take_over,
            run_date=today,
            incremental=incremental,
        )
        report.report_after_run(result.output)
        if result.rejected:
            rejects = f"{result.output}/rejects"
            which = "" if result.rows else "all "
            print(f"warning: {which}{result.rejected} row(s) were rejected, see {rejects}", file=sys.stderr)
        _print(result, printing.run_lines, as_json=as_json)

    options = [part for setting in set_ or () for part in ("--set", setting)]
    options += ["--executor", executor] if executor != "ray" else []
    options += ["--address", address] if address else []
    options += ["--run-date", run_date] if run_date else []
    options += ["--incremental"] if incremental else []
    _guarded(act, debug=debug, again=shlex.join(["corpusmill", "run", job, *options]))


@app.command()
def plan(
    job: JOB,
    set_: SET = None,
    rate: RATE = None,
    price: PRICE = None,
    run_date: RUN_DATE = None,
    as_json: JSON = False,
    debug: DEBUG = False,
) -> None:
    """Show the plan of a job: files, units, rows, token lengths, time, cost, size. Writes nothing.

    Example: corpusmill plan reviews.yaml --rate 40000 --price 1.20
    """
    rates = parse_rates(rate or ())

    def act() -> None:
        from corpusmill.jobs.plan.plan import plan as plan_job
        from corpusmill.jobs.resolve.job import load_job

        today = date_or_today(run_date)
        config = load_job(job, set_ or (), run_date=today)
        result = plan_job(config, origin=job, rates=rates, price=price, run_date=today, show_notes=True)
        _print(result, printing.plan_lines, as_json=as_json)

    _guarded(act, debug=debug)


@app.command()
def verify(
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="A job's output folder.")],
    listing: Annotated[
        bool, typer.Option("--listing", help="Compare names and sizes only; read no data file and no input.")
    ] = False,
    as_json: JSON = False,
    debug: DEBUG = False,
) -> None:
    """Check an output: checksums, schema, one result or reject per input row. Exit code 1 on a problem.

    Example: corpusmill verify ./out/reviews
    """

    def act() -> None:
        from corpusmill.jobs.verify.verify import verify as verify_output

        result = verify_output(output, listing=listing)
        _print(result, printing.verify_lines, as_json=as_json)
        if not result.ok:
            raise typer.Exit(1)

    _guarded(act, debug=debug)


@app.command()
def evaluate(
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="A finished job's output folder.")],
    labels: Annotated[str, typer.Option(metavar="COLUMN", help="The kept column with the true labels.")],
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="The model to evaluate, if there are several.")
    ] = None,
    pairs: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="Embeddings: compare the two rows that have the same value in this column."
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(metavar="P", help="Multi-label: the lowest score that counts as a label; default: 0.5."),
    ] = None,
    queries: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Reranking: the kept column that names a row's query; default: the job's text column.",
        ),
    ] = None,
    as_json: JSON = False,
    debug: DEBUG = False,
) -> None:
    """Compare the predictions of a finished output with a kept column of true labels.

    Example: corpusmill evaluate ./out/reviews --labels stars --model mood
    """

    def act() -> None:
        from corpusmill.jobs.evaluate import evaluate as evaluate_output
        from corpusmill.jobs.evaluate.evaluation import evaluation_lines

        result = evaluate_output(
            output, labels, model=model, pairs=pairs, threshold=threshold, queries=queries
        )
        _print(result, evaluation_lines, as_json=as_json)

    _guarded(act, debug=debug)


@app.command()
def convert(
    source: Annotated[str, typer.Argument(metavar="SRC", help="A checkpoint folder.")],
    target: Annotated[str, typer.Argument(metavar="DST", help="The folder to write: new or empty.")],
    ignore_tensors: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Leave out surplus tensors of these names; repeatable."),
    ] = None,
    as_json: JSON = False,
    debug: DEBUG = False,
) -> None:
    """Turn a PyTorch .bin, TensorFlow or Flax checkpoint into safetensors; no code in it is executed.

    Example: corpusmill convert ./old-bert ./bert
    """

    def act() -> None:
        from corpusmill.jobs.convert import convert as convert_checkpoint

        result = convert_checkpoint(source, target, ignore_tensors or ())
        _print(result, printing.convert_lines, as_json=as_json)

    _guarded(act, debug=debug)


@app.command()
def inspect(
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="A folder, hf://org/name[@revision], or a URL.")
    ],
    task: Annotated[
        str | None, typer.Option(metavar="T", help="Inspect the checkpoint for this task.")
    ] = None,
    as_json: JSON = False,
    debug: DEBUG = False,
) -> None:
    """Show the contents of a checkpoint: architecture, sizes, cost, tokenizer, labels, problems.

    Example: corpusmill inspect hf://distilbert/distilbert-base-uncased
    """

    def act() -> None:
        from corpusmill.jobs.inspect import inspect_checkpoint, inspection_lines

        result = inspect_checkpoint(checkpoint, task)
        _print(result, inspection_lines, as_json=as_json)

    _guarded(act, debug=debug)


@app.command()
def demo(
    output: Annotated[str, typer.Option(metavar="DIR", help="The folder to write.")] = "./out/demo",
    executor: EXECUTOR = "ray",
    debug: DEBUG = False,
) -> None:
    """Embed, label and tag the documentation of Python's standard library: a real job without a download.

    Example: corpusmill demo --output ./out/demo
    """
    engine = _executor(executor)

    def act() -> None:
        from corpusmill.jobs.demo.show import run_demo

        run_demo(output, executor=engine, debug=debug)

    _guarded(act, debug=debug, again=f"corpusmill demo --output {output}")


for group in (init, submission, status, schedule, report, prune, bench):
    group.register(app)


def main() -> None:
    """Run the command line: the entry point of the console script."""
    keep_memory()
    app()
