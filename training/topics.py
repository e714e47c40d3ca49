"""Topics of docstrings: the hypotheses from which the demo's small entailment model learns.

There are three kinds: the name of its section ("internet protocols"), its module ("zipfile"), and its
keyword, the word that is rarest in other texts. Some modules and keywords are held out of training, to
measure the model on labels that it has not seen.
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
_RARE, _COMMON = 8, 250  # least and most documents with a keyword


@dataclass(frozen=True)
class Topic:
    """A text and its three topics."""

    text: str
    section: str
    module: str
    keyword: str | None

    def without_keyword(self) -> str:
        """Return the text without its keyword, so that the model cannot simply find it."""
        return re.sub(rf"(?i)\b{self.keyword}\b", "it", self.text) if self.keyword else self.text


def unseen(subject: str) -> bool:
    """Return whether a module or keyword is held out of training."""
    return falls_below(f"subject {subject}")


def split_topics() -> tuple[list[Topic], list[Topic]]:
    """Return the topics for training and those held out; only the former count for keywords."""
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
