"""All errors of jobs: what is wrong is reported with its place, what was expected, and what to do.

::

    CorpusmillError
    ├── BenchError               A measurement cannot be made
    ├── ConfigError              A job that cannot run as it is written
    ├── ConvertError             A checkpoint cannot be converted, or not to where it should go
    ├── EvaluateError            Predictions cannot be held against these labels
    ├── ScheduleError            A schedule that cannot be, or is not there
    └── SubmissionError          The cluster refused, or has no such submission
        └── ClusterUnreachable   No Jobs API answers at the address
"""

from dataclasses import dataclass

from corpusmill.pipeline.errors import CorpusmillError


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to change: the path of the field, such as `models[0].dtype`, and what is wrong with it."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class ConfigError(CorpusmillError):
    """A job that cannot run as it is written; `problems` holds every one found."""

    def __init__(self, problems: list[Problem], origin: str = "job") -> None:
        self.problems = problems
        self.origin = origin
        super().__init__("\n".join(f"{origin}: {problem}" for problem in problems))


def within(inner: str, outer: str) -> bool:
    """Say whether a field is another one or a part of it."""
    return inner == outer or inner.startswith((f"{outer}.", f"{outer}["))


class BenchError(CorpusmillError):
    """A measurement cannot be made: a library is missing, or a setting does not fit."""


class ConvertError(CorpusmillError):
    """A checkpoint cannot be converted, or not to where it should go."""


class EvaluateError(CorpusmillError):
    """Predictions cannot be held against these labels."""


class ScheduleError(CorpusmillError):
    """A schedule that cannot be, or is not there."""


class SubmissionError(CorpusmillError):
    """The cluster refused, or has no such submission."""


class ClusterUnreachable(SubmissionError):  # noqa: N818
    """No Jobs API answers at the address."""
