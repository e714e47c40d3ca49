"""Processes known by a variable that all of them inherit, also those whose parent is gone.

Ray's workers hide their command line, and its daemons belong to no parent; their environment stays.
"""

import os

import psutil


def marked(variable: str, value: str) -> list[psutil.Process]:
    """Return the processes that were started with this value of the variable, without this one."""
    found = psutil.process_iter()
    return [process for process in found if process.pid != os.getpid() and _has(process, variable, value)]


def left(variable: str, value: str, *, seconds: float) -> list[psutil.Process]:
    """Return the marked processes that are still there after so many seconds.

    One that was killed is there until the system has taken it down.
    """
    _, alive = psutil.wait_procs(marked(variable, value), timeout=seconds)
    return [process for process in alive if _has(process, variable, value)]


def end(variable: str, value: str, *, seconds: float = 30.0) -> None:
    """Kill all marked processes, also those that are started meanwhile, and wait for their end."""
    while alive := marked(variable, value):
        for process in alive:
            _kill(process)
        _, alive = psutil.wait_procs(alive, timeout=seconds)
        assert not alive, f"killed, and still there: {alive}"


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return


def _has(process: psutil.Process, variable: str, value: str) -> bool:
    try:
        return process.environ().get(variable) == value
    except psutil.Error:  # gone, a zombie, or another user's
        return False
