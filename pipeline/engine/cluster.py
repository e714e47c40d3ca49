"""The connection to Ray: a local cluster, or one that runs already."""

import importlib
import io
import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from dataclasses import dataclass, replace
from typing import Any, TextIO, cast

import psutil

from corpusmill.pipeline.machine import usable_cpus

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


_OTHER_CHILDREN: list[frozenset[psutil.Process]] = []
"""The children of this process that do not belong to its local cluster; empty while it has no cluster."""


@dataclass(frozen=True, slots=True)
class ClusterResources:
    """The CPUs and GPUs of a cluster; `claimed` if workers claim them from Ray, as others use it too."""

    cpus: int
    gpus: int
    claimed: bool = False


@contextmanager
def cluster(
    address: str | None, *, debug: bool, abandoned: Callable[[], bool] = lambda: False
) -> Iterator[ClusterResources]:
    """Open a connection to Ray for a while; one that is open already is used and left open.

    Ray takes seconds to end a local cluster. If `abandoned` returns true at the end, a local cluster is left
    to `end_local_cluster`, which the caller calls right before this process ends.
    """
    if not debug:
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        with nullcontext() if debug else _hide_ray_notes():
            yield _resources()
        return
    options: dict[str, Any] = (
        {"address": address}
        if address
        else {"address": "local", "num_cpus": usable_cpus(), "include_dashboard": False}
    )
    quiet: dict[str, Any] = {} if debug else {"logging_level": logging.ERROR, "log_to_driver": False}
    local = nullcontext() if address else _local_cluster(abandoned)
    with tempfile.TemporaryDirectory(prefix="corpusmill-") as empty, local:
        with working_folder(empty), _keep_sigterm_handler():
            ray.init(**options, **quiet)
        try:
            with nullcontext() if debug else _hide_ray_notes():
                yield replace(_resources(), claimed=address is not None)
        finally:
            if address or not abandoned():
                # Ray keeps repeated notes and prints them at the end.
                with nullcontext() if debug else redirect_stdout(io.StringIO()):
                    ray.shutdown()


@contextmanager
def _local_cluster(abandoned: Callable[[], bool]) -> Iterator[None]:
    """Record this process's other children before the cluster starts, and forget them once it has ended."""
    _OTHER_CHILDREN.append(frozenset(psutil.Process().children()))
    try:
        yield
    finally:
        if not abandoned():
            _OTHER_CHILDREN.clear()


def end_local_cluster() -> None:
    """Kill all processes of this process's local cluster, if any; this process has to end right after.

    Otherwise Ray ends it with an error and exit code 1, as its raylet is gone.
    """
    if not _OTHER_CHILDREN:
        return
    roots = [child for child in psutil.Process().children() if child not in _OTHER_CHILDREN[0]]
    for root in roots:
        with suppress(psutil.Error):
            root.suspend()  # a killed raylet loses its workers, and may start more until then
    _kill([process for root in roots for process in _descendants(root)])
    _remove_spilled_objects()
    _kill(roots)


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.kill()


def _remove_spilled_objects() -> None:
    """Remove the objects that the cluster has spilled to disk, as `ray.shutdown` does."""
    worker = sys.modules.get("ray._private.worker")
    node = worker and worker._global_node
    if node is not None:
        node.destroy_external_storage()


@contextmanager
def _keep_sigterm_handler() -> Iterator[None]:
    """Keep the caller's handler of SIGTERM, if there is one: `ray.init` replaces it by sys.exit."""
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


def _resources() -> ClusterResources:
    import ray

    there = ray.cluster_resources()
    return ClusterResources(int(there.get("CPU", 1)), int(there.get("GPU", 0)))


@contextmanager
def _hide_ray_notes() -> Iterator[None]:
    """Keep Ray's notes off the terminal: no option stops those of dead workers.

    Ray Data still writes its log file in the session's folder.
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
    """Change to another working directory for a while.

    Ray starts every worker in the driver's working directory and puts that directory before site-packages
    on the worker's path, where a user's own package of a common name would shadow an installed one. The
    folder has to exist as long as the workers: MKL fails to load in a deleted one. Relative entries of
    PYTHONPATH are made absolute, so that they mean the same in both directories.
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
