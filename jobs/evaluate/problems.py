"""What an evaluation refuses.

::

    CorpusmillError
    └── EvaluateError    nothing can be measured; `field` is the argument to change, if it is one
"""

from corpusmill.pipeline.errors import CorpusmillError


class EvaluateError(CorpusmillError):
    """Predictions cannot be held against these labels."""
