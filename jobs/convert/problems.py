"""What a conversion refuses.

::

    CorpusmillError
    └── ConvertError    a checkpoint that cannot be converted; `field` is SRC or DST where that is wrong
"""

from collections.abc import Sequence

from corpusmill.pipeline.errors import CorpusmillError

SHOWN = 20


class ConvertError(CorpusmillError):
    """A checkpoint cannot be converted, or not to where it should go."""


def listed(names: Sequence[str]) -> str:
    """The first names, each on its own line under a message, and how many more there are."""
    more = [f"... and {len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return "".join(f"\n  {line}" for line in [*names[:SHOWN], *more])
