"""The command line: exit codes, what goes to which stream, and one line for every error.

0 done; 1 the job failed; 2 wrong usage or configuration; 130 interrupted and 143 terminated, state kept.
"""

import json
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from corpusmill.jobs import printing
from corpusmill.jobs.problems import ConfigError
from corpusmill.jobs.signals import Terminated, terminable
from corpusmill.pipeline.errors import CorpusmillError
from corpusmill.pipeline.memory import keep_memory

# What a command needs is imported when it acts: `--help` must not wait seconds for torch.

Executor = Literal["ray", "inline"]

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

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="Compact encoders over Parquet and JSONL corpora on Ray: every row exactly once.",
)


@app.command()
def run(
    job: JOB,
    set_: SET = None,
    executor: Annotated[str, typer.Option(metavar="ray|inline")] = "ray",
    address: ADDRESS = None,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Replace another run that writes the same output.")
    ] = False,
    as_json: JSON = False,
    debug: DEBUG = False,
) -> None:
    """Run a job, or continue it: the same command resumes a job that was killed.

    Example: corpusmill run reviews.yaml --set output.path=./out/test
    """
    engine = _executor(executor)

    def act() -> None:
        from corpusmill.jobs import JobConfig
        from corpusmill.jobs import run as run_job

        config = JobConfig.from_yaml(job, set_ or ())
        result = run_job(
            config,
            executor=engine,
            address=address,
            debug=debug,
            origin=job,
            show_progress=True,
            take_over=take_over,
        )
        if result.rejected:
            rejects = f"{result.output}/rejects"
            print(f"warning: {result.rejected} row(s) could not be used, see {rejects}", file=sys.stderr)
        _print(result, printing.run_lines, as_json=as_json)

    options = [part for setting in set_ or () for part in ("--set", setting)]
    options += ["--executor", executor] if executor != "ray" else []
    options += ["--address", address] if address else []
    _guarded(act, debug=debug, again=shlex.join(["corpusmill", "run", job, *options]))


@app.command()
def plan(job: JOB, set_: SET = None, as_json: JSON = False, debug: DEBUG = False) -> None:
    """Show what a job would do: files, units, rows, token lengths, time. Writes nothing.

    Example: corpusmill plan reviews.yaml --json
    """

    def act() -> None:
        from corpusmill.jobs import JobConfig
        from corpusmill.jobs.plan import plan as plan_job

        result = plan_job(JobConfig.from_yaml(job, set_ or ()), origin=job)
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
    """Re-read an output: checksums, schema, every input row accounted for. Exit code 1 if something is wrong.

    Example: corpusmill verify ./out/reviews
    """

    def act() -> None:
        from corpusmill.jobs.verify import verify as verify_output

        result = verify_output(output, listing=listing)
        _print(result, printing.verify_lines, as_json=as_json)
        if not result.ok:
            raise typer.Exit(1)

    _guarded(act, debug=debug)


@app.command()
def evaluate(
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="A finished job's output folder.")],
    labels: Annotated[str, typer.Option(metavar="COLUMN", help="The kept column with what is right.")],
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Which of several models.")] = None,
    pairs: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Embeddings: compare the two rows that share a value there."),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(metavar="P", help="Multi-label: the least score that counts, 0.5.")
    ] = None,
    as_json: JSON = False,
    debug: DEBUG = False,
) -> None:
    """Measure a finished output's predictions against a column that the job kept.

    Example: corpusmill evaluate ./out/reviews --labels stars --model mood
    """

    def act() -> None:
        from corpusmill.jobs.evaluate import evaluate as evaluate_output
        from corpusmill.jobs.evaluate.lines import lines_of

        result = evaluate_output(output, labels, model=model, pairs=pairs, threshold=threshold)
        _print(result, lines_of, as_json=as_json)

    _guarded(act, debug=debug)


@app.command()
def convert(
    source: Annotated[str, typer.Argument(metavar="SRC", help="A checkpoint folder.")],
    target: Annotated[str, typer.Argument(metavar="DST", help="The folder to write: new or empty.")],
    as_json: JSON = False,
    debug: DEBUG = False,
) -> None:
    """Turn a PyTorch .bin, TensorFlow or Flax checkpoint into safetensors; nothing in it is executed.

    Example: corpusmill convert ./old-bert ./bert
    """

    def act() -> None:
        from corpusmill.jobs.convert import convert as convert_checkpoint

        result = convert_checkpoint(source, target)
        _print(result, printing.convert_lines, as_json=as_json)

    _guarded(act, debug=debug)


@app.command()
def inspect(
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="A folder, hf://org/name[@revision], or a URL.")
    ],
    task: Annotated[str | None, typer.Option(metavar="T", help="Look at it for this task.")] = None,
    as_json: JSON = False,
    debug: DEBUG = False,
) -> None:
    """Show what a checkpoint holds: architecture, sizes, cost, tokenizer, labels, and what is missing.

    Example: corpusmill inspect hf://distilbert/distilbert-base-uncased
    """

    def act() -> None:
        from corpusmill.jobs.inspect import inspect_checkpoint, lines_of

        result = inspect_checkpoint(checkpoint, task)
        _print(result, lines_of, as_json=as_json)

    _guarded(act, debug=debug)


@app.command()
def demo(
    output: Annotated[str, typer.Option(metavar="DIR", help="Where the demo writes.")] = "./out/demo",
    executor: Annotated[str, typer.Option(metavar="ray|inline")] = "ray",
    debug: DEBUG = False,
) -> None:
    """Embed and label the standard library's documentation of this Python: a real job, nothing to download.

    Example: corpusmill demo --output ./out/demo
    """
    engine = _executor(executor)

    def act() -> None:
        from corpusmill.jobs.demo.show import run_demo

        run_demo(output, executor=engine, debug=debug)

    _guarded(act, debug=debug, again=f"corpusmill demo --output {output}")


@app.command()
def bench(  # noqa: PLR0913, PLR0917  as many as a measurement has settings
    theme: Annotated[
        str,
        typer.Argument(
            metavar="THEME",
            help="architectures, peers, accuracy, job, length, size or tokenizer.",
        ),
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
    tokens_per_batch: Annotated[int, typer.Option(metavar="N")] = 2048,
    threads: Annotated[int, typer.Option(metavar="N", help="0: one a core.")] = 0,
    rounds: Annotated[int, typer.Option(metavar="N", help="Runs of each contender, in turn.")] = 3,
    folder: Annotated[str, typer.Option(metavar="DIR", help="Where the page goes.")] = "docs/benchmarks",
    debug: DEBUG = False,
) -> None:
    """Measure this machine; print one JSON object and write a page. Other engines need corpusmill[bench].

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
        _print(measure(theme, settings, folder=Path(folder), command=typed), lambda _: (), as_json=True)

    _guarded(act, debug=debug)


def main() -> None:
    """Entry point of the console script."""
    keep_memory()
    app()


def _executor(name: str) -> Executor:
    known: dict[str, Executor] = {"ray": "ray", "inline": "inline"}
    if name not in known:
        raise typer.BadParameter(f"expected ray or inline, got {name!r}", param_hint="--executor")
    return known[name]


def _guarded(act: Callable[[], None], *, debug: bool, again: str = "") -> None:
    """Run a command; turn its errors into one line each and the exit code."""
    try:
        with terminable():
            act()
    except typer.Exit:
        raise
    except CorpusmillError as error:
        _traceback(debug=debug)
        print(f"error: {error.field + ': ' if error.field else ''}{error}", file=sys.stderr)
        raise typer.Exit(2 if isinstance(error, ConfigError) or error.field else 1) from None
    except (KeyboardInterrupt, Terminated) as stop:
        terminated = isinstance(stop, Terminated)
        what = "terminated" if terminated else "interrupted"
        continued = f", continue with: {again}" if again else ""
        print(f"{what}; what is committed is kept{continued}", file=sys.stderr)
        raise typer.Exit(143 if terminated else 130) from None
    except BrokenPipeError:
        # The reader of our output went away (`| head`): nothing to report, and nobody to report it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    except Exception as error:
        _traceback(debug=debug)
        print(f"error: {_unexpected(error)}", file=sys.stderr)
        raise typer.Exit(1) from None


def _unexpected(error: Exception) -> str:
    from corpusmill.models.errors import ModelError

    if isinstance(error, ModelError):
        return str(error)
    reason = (str(error).splitlines() or [""])[0]
    return (
        f"{type(error).__name__}: {reason}; this is a fault of corpusmill or of the machine: run again with "
        "--debug and report it"
    )


def _print(result: Any, lines: Callable[[Any], Iterable[str]], *, as_json: bool) -> None:
    print(json.dumps(asdict(result)) if as_json else "\n".join(lines(result)))


def _traceback(*, debug: bool) -> None:
    if debug:
        traceback.print_exc()
