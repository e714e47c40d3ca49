"""Variants of training texts with other spans, because most labels are rare in the library's documentation.

A model can memorize a URL that occurs once, but not one that changes each time. The rules find the spans of
the new text.
"""

import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Self

from corpusmill.jobs.demo.spans import Span, all_exceptions, true_spans

Example = tuple[str, list[Span]]
"""A text and its true spans."""

_DIGITS = re.compile(r"\d+")
_WORD = re.compile(r"[^\W\d]\w*")
_WORD_OR_DIGITS = re.compile(r"\d+|[^\W\d]\w*")
_SEPARATORS = "//////...---_#"
_ENDINGS = "c cfg com dat exe gz h html ini log net org pth py so txt xml zip".split()  # noqa: SIM905
_OTHER_LABELS = {"VERSION": 2, "URL": 4, "REFERENCE": 1, "EXCEPTION": 1, "NAME": 1, "DECOY": 5}


@dataclass(frozen=True)
class Shares:
    """The shares of a text that are replaced."""

    spans: float
    other_labels: float  # of those spans: the replacement has any label, or none
    words: float  # words and numbers between the spans


class Variants:
    """A generator of spans from the words of the training texts and their spans by label."""

    def __init__(self, words: Iterable[str], spans: dict[str, list[str]]) -> None:
        self._words = sorted(set(words))
        self._spans = spans
        self._makers: dict[str, Callable[[], str]] = {
            "VERSION": lambda: self._renumbered("VERSION"),
            "URL": self._url,
            "REFERENCE": lambda: self._renumbered("REFERENCE"),
            "EXCEPTION": self._exception,
            "NAME": self._name,
            "DECOY": self._decoy,
        }

    @classmethod
    def of(cls, examples: list[Example]) -> Self:
        spans = defaultdict(list)
        for text, found in examples:
            for start, end, label in found:
                spans[label].append(text[start:end])
        return cls((word for text, _ in examples for word in _WORD.findall(text)), spans)

    def vary(self, example: Example, shares: Shares) -> Example:
        """Return a variant of an example, with some spans and words replaced."""
        text, spans = example
        pieces, at = [], 0
        for start, end, label in spans:
            new = (
                self._instead(label, shares.other_labels)
                if random.random() < shares.spans
                else text[start:end]
            )
            pieces += [self._reworded(text[at:start], shares.words), new]
            at = end
        varied = "".join([*pieces, self._reworded(text[at:], shares.words)])
        return varied, true_spans(varied)

    def _instead(self, label: str, other_labels: float) -> str:
        if random.random() < other_labels:
            (label,) = random.choices(list(_OTHER_LABELS), list(_OTHER_LABELS.values()))
        return self._makers[label]()

    def _reworded(self, text: str, share: float) -> str:
        def other(match: re.Match[str]) -> str:
            if random.random() >= share:
                return match[0]
            return _another_number(match) if match[0].isdigit() else self._word()

        return _WORD_OR_DIGITS.sub(other, text)

    def _word(self) -> str:
        return random.choice(self._words)

    def _number(self) -> str:
        return ".".join(str(random.randrange(10**digits)) for digits in random.choices((1, 2, 3), k=2))

    def _known(self, label: str) -> str:
        return random.choice(self._spans[label])

    def _renumbered(self, label: str) -> str:
        return _DIGITS.sub(_another_number, self._known(label))

    def _exception(self) -> str:
        return self._known("EXCEPTION") if random.random() < 0.5 else random.choice(_EXCEPTIONS)

    def _name(self) -> str:
        """Return the beginning of a known name or a word, and a word or two."""
        first = self._known("NAME").rpartition(".")[0] if random.random() < 0.5 else self._word()
        return ".".join([first, *random.choices(self._words, k=random.choice((1, 1, 2)))])

    def _url(self) -> str:
        """Return a known URL, or its host with a path of words, numbers and names."""
        scheme, _, rest = self._known("URL").partition("://")
        if random.random() < 0.3:
            return f"{scheme}://{rest}"
        host = rest.partition("/")[0]
        makers = (self._word, self._word, self._name, self._number)
        parts = (random.choice(_SEPARATORS) + random.choice(makers)() for _ in range(random.randint(0, 6)))
        return f"{scheme}://{host}/{''.join(parts).lstrip(_SEPARATORS)}"

    def _decoy(self) -> str:
        """Return text without a label: a file, a path, initials, the end of a sentence, or "ValueErrors"."""
        return random.choice(
            [
                f"{self._word()}.{random.choice(_ENDINGS)}.{random.randrange(10)}",
                f"{random.choice(ascii_uppercase)}.{self._word().capitalize()}",
                f"{self._word()}.\n\n{self._word()}",
                f"[{self._word()}...]",
                f"{self._word()}.{random.choice(_ENDINGS)}",
                f"/{self._word()}/{self._word()}.{self._word()}/{self._word()}",
                f"{self._word()}. {self._word()}",
                f"{self._exception()}s",
            ]
        )


_EXCEPTIONS = sorted(all_exceptions())


def _another_number(match: re.Match[str]) -> str:
    digits = max(1, len(match[0]) + random.choice((-1, 0, 0, 0, 1)))
    return str(random.randrange(10 ** (digits - 1) if digits > 1 else 0, 10**digits))
