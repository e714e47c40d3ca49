"""The frame of every command: exit codes, output streams, and one line per error.

0 done; 1 the job failed; 2 wrong usage or configuration; 130 interrupted and 143 terminated, state kept.
"""

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

import typer

from corpusmill.jobs.driver.signals import Terminated, terminable
from corpusmill.jobs.errors import ConfigError
from corpusmill.pipeline.engine.cluster import end_local_cluster
from corpusmill.pipeline.errors import CorpusmillError, in_a_line


def guarded(act: Callable[[], None], *, debug: bool, again: str = "") -> None:
    """Run a command; turn its errors into one line each and the exit code."""

    def farewell(number: int) -> str:
        what = "terminated" if number == signal.SIGTERM else "interrupted"
        return f"{what}; committed units are kept" + (f", continue with: {again}" if again else "")

    try:
        with terminable(farewell, end_local_cluster):
            act()
    except typer.Exit:
        raise
    except CorpusmillError as error:
        _traceback(debug=debug)
        print(f"error: {error.field + ': ' if error.field else ''}{error}", file=sys.stderr)
        raise typer.Exit(2 if isinstance(error, ConfigError) or error.field else 1) from None
    except (KeyboardInterrupt, Terminated) as stop:  # without a signal: raised by the program itself
        number = signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT
        print(farewell(number), file=sys.stderr)
        raise typer.Exit(128 + number) from None
    except BrokenPipeError:
        # The reader of our output has ended (`| head`): nobody would read a report.
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
    return (
        f"{in_a_line(error)}; this is a fault of corpusmill or of the machine: run again with "
        "--debug and report it"
    )


def print_result(result: Any, lines: Callable[[Any], Iterable[str]], *, as_json: bool) -> None:
    """Print a result on standard output: for people line by line, or as one JSON object."""
    print(json.dumps(asdict(result)) if as_json else "\n".join(lines(result)))


def _traceback(*, debug: bool) -> None:
    if debug:
        traceback.print_exc()
