"""Checks of a job against its inputs, checkpoints and output; a problem does not stop the other checks."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from corpusmill.jobs.errors import Problem, is_within
from corpusmill.models import ModelError
from corpusmill.pipeline.errors import CorpusmillError

T = TypeVar("T")


@dataclass
class Checks:
    """A collection of problems; `unread` are the fields of the job file that could not be read.

    A failed check returns None. A check that depends on an unread field does not run, and nothing more is
    reported about such a field: its problem is known already.
    """

    unread: frozenset[str] = frozenset()
    problems: list[Problem] = field(default_factory=list)

    def can_read(self, *fields: str) -> bool:
        """Return whether all these fields could be read; a section counts as read if all its fields are."""
        return not any(
            is_within(one, other) or is_within(other, one) for one in fields for other in self.unread
        )

    def add(self, where: str, message: str) -> None:
        """Add a problem of a field that could be read."""
        problem = Problem(where, message)
        if self.can_read(where) and problem not in self.problems:
            self.problems.append(problem)

    def run(self, where: str, check: Callable[[], T], needs: Iterable[str] = ()) -> T | None:
        """Return the result of a check, or add its error as a problem of the error's field or `where`."""
        if not self.can_read(where, *needs):
            return None
        try:
            return check()
        except ModelError as error:
            self.add(where, str(error))
        except CorpusmillError as error:
            self.add(error.field or where, str(error))
        return None
