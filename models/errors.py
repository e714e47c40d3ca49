"""The exceptions of `corpusmill.models`, as one tree.

::

    ModelError
    ├── CheckpointError      a folder that cannot be used as a model
    │   ├── ConfigError      config.json or a sentence-transformers file: a value missing or not supported
    │   └── TensorError      weights: tensors missing, left over, or of the wrong shape
    ├── OptionError          a task, dtype, device or option that this version or checkpoint does not know
    └── InputError           tokens that a model cannot take
"""


class ModelError(Exception):
    """Root of everything that `corpusmill.models` raises on purpose."""


class CheckpointError(ModelError):
    """A folder that cannot be used as a model."""


class ConfigError(CheckpointError):
    """A value in a checkpoint's JSON files is missing or not supported."""


class TensorError(CheckpointError):
    """A checkpoint's tensors are not the ones its config asks for."""


class OptionError(ModelError):
    """A task, dtype, device or option that this version or this checkpoint does not know."""


class InputError(ModelError):
    """Tokens that a model cannot take."""


def indent(lines: list[str]) -> str:
    """Return the lines of a message, each on its own line and indented."""
    return "".join(f"\n  {line}" for line in lines)


def in_a_line(error: BaseException) -> str:
    """Return the error's class and the first line of its message."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
