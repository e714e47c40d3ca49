"""Waiting for what tasks and actors answer, and what an error among the answers says."""

from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError


def answers(awaited: Sequence[Any], timeout: float) -> list[tuple[Any, Any]]:
    """Return (reference, value or error) of all that has arrived, values first.

    A worker's last answer so comes before its death, which is then blamed on the right piece.
    """
    if not awaited:
        return []
    ready, rest = ray.wait(list(awaited), num_returns=1, timeout=timeout)
    more, _ = ray.wait(rest, num_returns=len(rest), timeout=0) if ready and rest else ([], [])
    found = [(reference, answer_to(reference)) for reference in (*ready, *more)]
    return sorted(found, key=lambda each: isinstance(each[1], RayError))


def first_line(error: BaseException) -> str:
    """Return an error's first line, or what it is."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def answer_to(reference: Any) -> Any:
    """Return what a reference brought, or the error that it brought."""
    try:
        return ray.get(reference)
    except RayTaskError as error:  # a block that could not be had is no fault of the task that asked for it
        return error.cause if isinstance(error.cause, RayError) else error
    except RayError as error:
        return error
