"""Questions about docstrings, and rules that find their answers, from which the demo's reader learns.

Offsets are code points. A text in which a rule finds nothing has no answer to that question.
"""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from corpusmill.jobs.demo.spans import true_spans


class AnswerSpan(NamedTuple):
    """An answer, `text[start:end]`."""

    start: int
    end: int


_RAISED_BEFORE = re.compile(r"\b[Rr]ais(?:e|es|ed|ing)\b[^.;]{0,60}\Z")
_RAISED_AFTER = re.compile(r"[`'\"]*(?:\s+\w+){0,2}\s+(?:is|are|will be|being)\s+raised\b")
_RETURNED = re.compile(r"\b[Rr]eturns?:?\s+(?!values?\b)(?P<what>[^\s.,;:()][^.,;:()\n]*(?:\n[^.,;:()\n]+)?)")
_CLAUSE = re.compile(r"\s+(?:if|when|where|which|that|unless|or|and|as|for|from|in|with|by|after|on|to)\b")
_DEFAULTS = (
    re.compile(r"\b[Dd]efaults?(?: value)? (?:is|to|are)\s+(?P<what>[^\s,;)]+)"),
    re.compile(r"\(default(?: is|s to)?[ :=]+(?P<what>[^\s,;)]+)\)"),
    re.compile(r"(?P<what>[^\s,;(]+) \(the default\)"),
)
_WRAPPING = "'\"`*.:"
_LONGEST = 12  # words of an answer


def _raised(text: str) -> Iterator[AnswerSpan]:
    for start, end, label in true_spans(text):
        before, after = text[max(0, start - 80) : start], text[end : end + 60]
        if label == "EXCEPTION" and (_RAISED_BEFORE.search(before) or _RAISED_AFTER.match(after)):
            yield AnswerSpan(start, end)


def _returned(text: str) -> Iterator[AnswerSpan]:
    """Yield phrases after "return", up to the first punctuation or word that begins a clause."""
    for match in _RETURNED.finditer(text):
        clause = _CLAUSE.search(match["what"], 2)
        found = match["what"][: clause.start() if clause else None].rstrip()
        if 0 < len(found.split()) <= _LONGEST:
            yield AnswerSpan(match.start("what"), match.start("what") + len(found))


def _default(text: str) -> Iterator[AnswerSpan]:
    matches = (match for pattern in _DEFAULTS for match in pattern.finditer(text))
    for match in sorted(matches, key=lambda match: match.start("what")):
        found = match["what"].rstrip(_WRAPPING)
        left = len(found) - len(found.lstrip(_WRAPPING))
        if re.search(r"\w", found) and found.lower() not in ("a", "an", "the", "to"):
            yield AnswerSpan(match.start("what") + left, match.start("what") + len(found))


def _labelled(label: str) -> Callable[[str], Iterator[AnswerSpan]]:
    return lambda text: (AnswerSpan(span.start, span.end) for span in true_spans(text) if span.label == label)


RULES: dict[str, Callable[[str], Iterator[AnswerSpan]]] = {
    "exception": _raised,
    "return": _returned,
    "default": _default,
    "reference": _labelled("REFERENCE"),
    "version": _labelled("VERSION"),
}
QUESTIONS: dict[str, tuple[str, ...]] = {
    "exception": (
        "Which exception is raised?",
        "What exception does it raise?",
        "Which error does it raise?",
    ),
    "return": ("What does it return?", "What is returned?", "What is the result?"),
    "default": ("What is the default?", "What is the default value?", "Which value is the default?"),
    "reference": ("Which PEP or RFC is it about?", "Which PEP or RFC is named?", "Which standard is named?"),
    "version": ("Which version is named?", "Which version is it about?", "Since which version?"),
}


def answer_of(text: str, kind: str) -> AnswerSpan | None:
    """Return the first answer that the kind's rule finds."""
    return next(RULES[kind](text), None)
