"""Sentences of docstrings, and pairs of neighbours: what the small BERT and its offspring learn from."""

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
    """Sentences of prose on one line each; examples, tables and headings are left out."""
    parts = (" ".join(part.split()) for part in _BREAK.split(text))
    return [part for part in parts if len(_WORD.findall(part)) >= MINIMUM_WORDS and ">>>" not in part]


def neighbours(texts: Sequence[str]) -> list[Neighbours]:
    """Each pair of consecutive sentences, in the order of the texts; every pair once."""
    pairs = (Neighbours(*pair) for text in texts for pair in pairwise(sentences(text)))
    return list(dict.fromkeys(pairs))


def strangers(pair: Neighbours, pairs: Sequence[Neighbours], count: int, chance: random.Random) -> list[str]:
    """Second sentences of other pairs.

    Of other pairs' second ones only: first sentences are written otherwise ("Return ..."), and a model
    would learn to tell those instead of what follows.
    """
    found: list[str] = []
    while len(found) < count:
        second = chance.choice(pairs).second
        if second not in (*pair, *found):
            found.append(second)
    return found
