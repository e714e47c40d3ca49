"""How many sequences of which length a model was given: a few counts, which add up over units and workers."""

from collections.abc import Iterable
from typing import Any

import numpy as np

LENGTHS = (1, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""Least tokens of each class; the last one has no end."""

Counts = tuple[int, ...]


def counted(lengths: "np.ndarray[Any, Any]") -> Counts:
    """Count lengths, of at least one token, by class."""
    classes = np.searchsorted(LENGTHS, lengths, side="right") - 1
    return tuple(np.bincount(classes, minlength=len(LENGTHS)).tolist())


def together(several: Iterable[Counts]) -> Counts:
    """Add counts up; none are empty."""
    return tuple(map(sum, zip(*(counts for counts in several if counts), strict=True)))
