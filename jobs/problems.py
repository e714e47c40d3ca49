"""All that is wrong with a job's configuration, said at once."""

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
