"""What can go wrong between a corpus and its output.

    CorpusmillError                 one line: where, expected, got, what to do
    ├── InputError                  a file that cannot be listed, opened or read
    │   ├── InputChanged            not the file that was planned
    │   └── BadRow                  an unusable row, under `on_bad_row: fail`
    ├── OptionError                 an option of a model's task that cannot be
    ├── TokenizerError              a checkpoint's tokenizer files are missing or unusable
    ├── OutputError                 the output folder cannot be used or written
    ├── ModelFailed                 a model cannot take any row of a unit
    ├── DeviceLost                  a device failed in such a way that its process has to be replaced
    └── JobFailed                   units that could not be finished; the rest is committed

Any of them may know the field of the job file to change (`error.field`). Errors of a checkpoint are
`corpusmill.models.ModelError`.
"""

from typing import Self


class CorpusmillError(Exception):
    """An error whose message is meant for the user; the command line prints it without a traceback."""

    field: str | None = None
    """Path of the field of the job file that has to change, such as `input.text`."""

    def at(self, field: str) -> Self:
        """Return the same error, naming the job file's field that caused it."""
        self.field = field
        return self


class InputError(CorpusmillError):
    """An input file cannot be listed, opened or read."""


class InputChanged(InputError):  # noqa: N818
    """An input file is not the one that was planned: its size or modification mark differs."""


class BadRow(InputError):  # noqa: N818
    """A row cannot be used and the job says `on_bad_row: fail`."""


class OptionError(CorpusmillError):
    """An option of a task has a value that the checkpoint or another option rules out; `field` names it."""


class TokenizerError(CorpusmillError):
    """The tokenizer files of a checkpoint are missing or unusable."""


class OutputError(CorpusmillError):
    """The output folder cannot be used or written."""


class ModelFailed(CorpusmillError):  # noqa: N818
    """A model fails on every row of a unit: the rows are not at fault."""


class DeviceLost(CorpusmillError):  # noqa: N818
    """A device failed, and everything that this process does on it from now on would fail too."""


class JobFailed(CorpusmillError):  # noqa: N818
    """Some units could not be finished; what was committed stays, and the same command continues."""


def first_line(error: BaseException) -> str:
    """Return the first line that an error says, or its type's name if it says nothing."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def in_a_line(error: BaseException) -> str:
    """Return an error's type and the first line that it says, for an error that nobody foresaw."""
    kind, said = type(error).__name__, first_line(error)
    return kind if said == kind else f"{kind}: {said}"
