"""All errors of jobs; each message has the place, what was expected, what was found, and what to do.

::

    CorpusmillError
    ├── BenchError               A measurement cannot be made
    ├── ConfigError              A job that cannot run as it is written
    ├── ConvertError             A checkpoint cannot be converted, or not into this folder
    ├── EvaluateError            Predictions cannot be compared with these labels
    ├── ScheduleError            A schedule is not valid, or does not exist
    └── SubmissionError          The cluster refused a request, or has no such submission
        └── ClusterUnreachable   No Jobs API answers at the address
"""

from dataclasses import dataclass

from corpusmill.pipeline.errors import CorpusmillError


@dataclass(frozen=True, slots=True)
class Problem:
    """One change to make: the path of the field, such as `models[0].dtype`, and what is wrong with it."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class ConfigError(CorpusmillError):
    """A job that cannot run as it is written; `problems` holds all problems that were found."""

    def __init__(self, problems: list[Problem], origin: str = "job") -> None:
        self.problems = problems
        self.origin = origin
        super().__init__("\n".join(f"{origin}: {problem}" for problem in problems))


def is_within(inner: str, outer: str) -> bool:
    """Return whether a field is the other field or a part of it."""
    return inner == outer or inner.startswith((f"{outer}.", f"{outer}["))


class BenchError(CorpusmillError):
    """A measurement cannot be made: a library is missing, or a setting does not fit."""


class ConvertError(CorpusmillError):
    """A checkpoint cannot be converted, or not into this folder."""


class EvaluateError(CorpusmillError):
    """Predictions cannot be compared with these labels."""


class ScheduleError(CorpusmillError):
    """A schedule is not valid, or does not exist."""


class SubmissionError(CorpusmillError):
    """The cluster refused a request, or has no such submission."""


class ClusterUnreachable(SubmissionError):  # noqa: N818
    """No Jobs API answers at the address."""
