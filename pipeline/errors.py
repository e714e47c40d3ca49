"""The errors between a corpus and its output.

    CorpusmillError                 one line: where, expected, got, what to do
    ├── InputError                  a file that cannot be listed, opened or read
    │   ├── InputChanged            not the file that was planned
    │   └── BadRow                  an unusable row, under `on_bad_row: fail`
    ├── OptionError                 an option of a task with an impossible value
    ├── TokenizerError              a checkpoint's tokenizer files are missing or unusable
    ├── OutputError                 the output folder cannot be used or written
    ├── ModelFailed                 a model cannot take any row of a unit
    ├── DeviceLost                  a device failure after which the process has to be replaced
    └── JobFailed                   units that could not be finished; the rest is committed

Each error may have the field of the job file to change (`error.field`). Errors of a checkpoint are
`corpusmill.models.ModelError`.
"""

from typing import Self


class CorpusmillError(Exception):
    """An error whose message is meant for the user; the command line prints it without a traceback."""

    field: str | None = None
    """The path of the field of the job file that has to change, such as `input.text`."""

    def at(self, field: str) -> Self:
        """Return the error with the field of the job file that caused it."""
        self.field = field
        return self


class InputError(CorpusmillError):
    """An input file that cannot be listed, opened or read."""


class InputChanged(InputError):  # noqa: N818
    """An input file that has changed since the plan: its size or modification mark differs."""


class BadRow(InputError):  # noqa: N818
    """A row that cannot be used, with `on_bad_row: fail`."""


class OptionError(CorpusmillError):
    """An option of a task with a value that the checkpoint or another option excludes."""


class TokenizerError(CorpusmillError):
    """Tokenizer files of a checkpoint that are missing or unusable."""


class OutputError(CorpusmillError):
    """An output folder that cannot be used or written."""


class ModelFailed(CorpusmillError):  # noqa: N818
    """A model that fails on every row of a unit: the rows are not at fault."""


class DeviceLost(CorpusmillError):  # noqa: N818
    """A device that has failed and would fail on every further call of this process."""


class JobFailed(CorpusmillError):  # noqa: N818
    """A job with units that could not be finished; committed units stay, and the same command continues."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its type if it has none."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def in_a_line(error: BaseException) -> str:
    """Return an unexpected error's type and the first line of its message."""
    kind, said = type(error).__name__, first_line(error)
    return kind if said == kind else f"{kind}: {said}"
