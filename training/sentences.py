"""Sentences of docstrings, and pairs of neighbours, from which the small BERTs learn."""

import random
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

_BREAK = re.compile(r"\n\s*\n|(?<=[.!?:])\s+(?=[A-Z`*'\"(\[])")
_WORD = re.compile(r"[A-Za-z]{2,}")
MINIMUM_WORDS = 3


class Neighbours(NamedTuple):
    """A sentence, and the one after it in the same text."""

    first: str
    second: str


def sentences(text: str) -> list[str]:
    """Return sentences of prose, each on one line, without examples, tables and headings."""
    parts = (" ".join(part.split()) for part in _BREAK.split(text))
    return [part for part in parts if len(_WORD.findall(part)) >= MINIMUM_WORDS and ">>>" not in part]


def neighbours(texts: Sequence[str]) -> list[Neighbours]:
    """Return each pair of consecutive sentences once, in the order of the texts."""
    pairs = (Neighbours(*pair) for text in texts for pair in pairwise(sentences(text)))
    return list(dict.fromkeys(pairs))


def other_seconds(pair: Neighbours, pairs: Sequence[Neighbours], count: int, rng: random.Random) -> list[str]:
    """Return `count` second sentences of other pairs.

    First sentences of a text are not used: their style differs ("Return ..."), and a model would learn to
    recognize the style.
    """
    found: list[str] = []
    while len(found) < count:
        second = rng.choice(pairs).second
        if second not in (*pair, *found):
            found.append(second)
    return found
