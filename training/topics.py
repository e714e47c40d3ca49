"""What a docstring is about, in words: the hypotheses that the demo's small entailment model learns from.

Three kinds: the name of its section ("internet protocols"), its module ("zipfile"), and its keyword, the
word of it that is rarest elsewhere. Some modules and keywords are never used in training: what the model
makes of those tells whether it understands words that it was not taught as labels.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import log

from corpusmill.jobs.demo.corpus import collect
from sections import SECTIONS, section_of
from split import falls_below, is_held_out

TEMPLATE = "This example is about {}."
LABELS = [section.replace("-", " ") for section in SECTIONS]
_WORD = re.compile(r"[a-z]{4,}")
_RARE, _COMMON = 8, 250  # documents with a keyword: from a few to some


@dataclass(frozen=True)
class Topic:
    """A text and the three answers to what it is about."""

    text: str
    section: str
    module: str
    keyword: str | None

    def without_keyword(self) -> str:
        """So that a keyword is understood, not found."""
        return re.sub(rf"(?i)\b{self.keyword}\b", "it", self.text) if self.keyword else self.text


def unseen(subject: str) -> bool:
    """Whether a module or keyword is kept out of training."""
    return falls_below(f"subject {subject}")


def split_topics() -> tuple[list[Topic], list[Topic]]:
    """For training, and held out; keywords are counted in the former only."""
    documents = [document for document in collect() if section_of(document.module)]
    counts = Counter(
        word for document in documents if not is_held_out(document.text) for word in _words(document.text)
    )
    sides: tuple[list[Topic], list[Topic]] = ([], [])
    for document in documents:
        topic = Topic(
            text=document.text,
            section=(section_of(document.module) or "").replace("-", " "),
            module=document.module.partition(".")[0].strip("_"),
            keyword=_keyword(_words(document.text), counts, documents=len(documents)),
        )
        sides[is_held_out(document.text)].append(topic)
    return sides


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.lower()))


def _keyword(words: Iterable[str], counts: Counter[str], *, documents: int) -> str | None:
    known = [word for word in words if _RARE <= counts[word] <= _COMMON]
    return max(known, key=lambda word: (log(documents / counts[word]), word), default=None)
