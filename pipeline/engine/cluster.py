"""Connecting to Ray: a quiet local cluster, or one that runs already."""

import importlib
import io
import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass, replace
from typing import Any, TextIO, cast

from corpusmill.pipeline.cpus import usable_cpus

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@dataclass(frozen=True, slots=True)
class Resources:
    """What a cluster offers; `claimed` where Ray must count it: others use it, or nodes may be added."""

    cpus: int
    gpus: int
    claimed: bool = False


@contextmanager
def cluster(address: str | None, *, debug: bool) -> Iterator[Resources]:
    """Hold a connection to Ray; one that was open already is used and left open."""
    if not debug:
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        with nullcontext() if debug else _quiet():
            yield _resources()
        return
    options: dict[str, Any] = (
        {"address": address}
        if address
        else {"address": "local", "num_cpus": usable_cpus(), "include_dashboard": False}
    )
    quiet: dict[str, Any] = {} if debug else {"logging_level": logging.ERROR, "log_to_driver": False}
    with tempfile.TemporaryDirectory(prefix="corpusmill-") as empty:
        with working_folder(empty), _callers_sigterm():
            ray.init(**options, **quiet)
        try:
            with nullcontext() if debug else _quiet():
                yield replace(_resources(), claimed=address is not None)
        finally:
            # What Ray has kept back of its notes, as repetitions, it prints at the end.
            with nullcontext() if debug else redirect_stdout(io.StringIO()):
                ray.shutdown()


@contextmanager
def _callers_sigterm() -> Iterator[None]:
    """Keep the caller's handler of SIGTERM, if there is one: `ray.init` replaces it by a sys.exit."""
    before = signal.getsignal(signal.SIGTERM)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield
        return
    try:
        yield
    except SystemExit:
        before(signal.SIGTERM, None)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _resources() -> Resources:
    import ray

    there = ray.cluster_resources()
    return Resources(int(there.get("CPU", 1)), int(there.get("GPU", 0)))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Ray's notes off the terminal: those of workers that died go to standard output, whatever is asked.

    Ray Data's own log goes on in the session's folder.
    """
    importlib.import_module("ray.data")  # sets up its logger, on first import only
    on_terminal = [
        handler
        for handler in logging.getLogger("ray.data").handlers
        if isinstance(handler, logging.StreamHandler)
    ]
    levels = [handler.level for handler in on_terminal]
    before = sys.stdout
    sys.stdout = cast(TextIO, _WithoutRay(before))
    for handler in on_terminal:
        handler.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        sys.stdout = before
        for handler, level in zip(on_terminal, levels, strict=True):
            handler.setLevel(level)


class _WithoutRay:
    """A stream that drops what Ray's error listener writes and passes on everything else."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        if threading.current_thread().name == "ray_listen_error_messages":
            return len(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def working_folder(folder: str) -> Iterator[None]:
    """Work in another folder for a moment.

    Ray starts every worker in the driver's working directory and puts that directory before site-packages
    on the worker's path, where a user's own package of a common name would shadow an installed one. The
    folder has to stay for as long as the workers do: in a deleted one MKL fails to load. What PYTHONPATH
    says from here on is said for there too.
    """
    before = os.getcwd()
    if paths := os.environ.get("PYTHONPATH"):
        os.environ["PYTHONPATH"] = os.pathsep.join(
            path and os.path.abspath(path) for path in paths.split(os.pathsep)
        )
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
