"""Waiting for what tasks and actors answer, and what an error among the answers says."""

from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

MANY = 64
GATHER = 0.05
"""Seconds that answers to more than MANY references are gathered for: a look costs the driver all of them.

A worker has its next piece meanwhile.
"""


def answers(awaited: Sequence[Any], timeout: float) -> list[tuple[Any, Any]]:
    """Return (reference, value or error) of all that has arrived, values first.

    A worker's last answer so comes before its death, which is then blamed on the right piece.
    """
    if not awaited:
        return []
    gather = GATHER if len(awaited) > MANY else 0.0
    ready, rest = ray.wait(list(awaited), num_returns=1, timeout=timeout)
    more, _ = ray.wait(rest, num_returns=len(rest), timeout=gather) if ready and rest else ([], [])
    arrived = [*ready, *more]
    found = list(zip(arrived, _answers_to(arrived), strict=True))
    return sorted(found, key=lambda each: isinstance(each[1], RayError))


def _answers_to(references: list[Any]) -> list[Any]:
    try:
        return list(ray.get(references))  # a fifth of what one by one costs
    except RayError:
        return [answer_to(reference) for reference in references]


def answer_to(reference: Any) -> Any:
    """Return what a reference brought, or the error that it brought."""
    try:
        return ray.get(reference)
    except RayTaskError as error:  # a block that could not be had is no fault of the task that asked for it
        return error.cause if isinstance(error.cause, RayError) else error
    except RayError as error:
        return error
