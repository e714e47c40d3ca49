"""From start and end logits of one document and one question to its best answers, of whole words.

D tokens of the document, w of them in a window, C candidates.

With one window the results are those of transformers' question-answering pipeline of version 4: the
probabilities are softmaxes over the document's tokens and [CLS], the score of a span is the product of
those of its first and its last token, and "no answer" is the span of [CLS].

Several windows compete in one softmax (shared normalization: Clark & Gardner 2018, section 3.2). Its only
[CLS] is that of the window with the lowest score for "no answer" (as in BERT's run_squad.py), as a window
without the answer correctly predicts that it has none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Bools = np.ndarray[Any, np.dtype[np.bool_]]
Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]
Ints = np.ndarray[Any, np.dtype[np.integer[Any]]]


@dataclass(frozen=True, slots=True, eq=False)
class AnswerWindow:
    """The logits (w,) of document tokens `first:first + w`, and those of [CLS], from one forward pass."""

    first: int
    start_logits: Floats
    end_logits: Floats
    null_start: float
    null_end: float


@dataclass(frozen=True, slots=True)
class Answer:
    """The code points `start:end` of an answer in the document; 0, 0 means that there is none."""

    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class _Candidates:
    """Spans of whole words (C,) and their ranks; a span may occur several times.

    `ranks` are logarithms of scores minus a constant, which order candidates even if all scores are 0.
    """

    ranks: Floats
    starts: Ints
    ends: Ints


def best_answers(
    windows: Sequence[AnswerWindow],
    starts: Ints,
    ends: Ints,
    word_begins: Bools,
    *,
    top_k: int,
    max_answer_length: int,
    handle_impossible_answer: bool,
) -> list[Answer]:
    """Return up to `top_k` distinct answers: best score first, then by start and by end.

    `starts`, `ends` and `word_begins` (D,) are those of all tokens that the windows have. An answer has at
    most `max_answer_length` tokens before it is extended to whole words. Fewer than `top_k` answers are
    returned only if there are no more. A document without tokens has no answer, not even the impossible one.
    """
    if not windows or not len(starts):
        return []
    null = min(windows, key=lambda window: float(window.null_start) + float(window.null_end))
    top_start, mass_start = _softmax_terms([*(w.start_logits for w in windows), [null.null_start]])
    top_end, mass_end = _softmax_terms([*(w.end_logits for w in windows), [null.null_end]])
    limits = _word_limits(starts, ends, word_begins)
    found = [
        _candidates(
            window.first,
            _double(window.start_logits) - top_start,
            _double(window.end_logits) - top_end,
            limits=limits,
            max_answer_length=max_answer_length,
        )
        for window in windows
    ]
    if handle_impossible_answer:
        rank = (float(null.null_start) - top_start) + (float(null.null_end) - top_end)
        found.append(_Candidates(np.array([rank]), np.array([0]), np.array([0])))
    return _best_distinct(_joined(found), top_k, log_mass=mass_start + mass_end)


def _double(logits: Any) -> Floats:
    return np.asarray(logits, np.float64)


def _softmax_terms(parts: list[Any]) -> tuple[float, float]:
    """Return the largest logit, and the logarithm of the sum of exponentials relative to it."""
    logits = np.concatenate([_double(part) for part in parts])
    top = logits.max()
    return float(top), float(np.log(np.exp(logits - top).sum()))


def _word_limits(starts: Ints, ends: Ints, word_begins: Bools) -> tuple[Ints, Ints]:
    """Return the start and the end of each token's word (D,)."""
    begins = word_begins.copy()
    begins[0] = True
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(begins)) - 1
    word = np.cumsum(begins) - 1
    return starts[first][word], ends[last][word]


def _candidates(
    first: int, starts_w: Floats, ends_w: Floats, *, limits: tuple[Ints, Ints], max_answer_length: int
) -> _Candidates:
    """Return every span of a window with characters; an empty one would mean "no answer"."""
    firsts, lasts = _short_ranges(len(starts_w), max_answer_length)
    word_starts, word_ends = limits[0][first + firsts], limits[1][first + lasts]
    real = word_starts < word_ends
    return _Candidates((starts_w[firsts] + ends_w[lasts])[real], word_starts[real], word_ends[real])


def _short_ranges(length: int, max_answer_length: int) -> tuple[Ints, Ints]:
    """Return first and last token of every span of up to `max_answer_length` of `length` tokens.

    Memory is proportional to the number of spans, not to the square of the window.
    """
    widths = np.arange(min(max_answer_length, length))
    lasts = np.arange(length)[:, None] + widths
    inside = lasts < length
    return np.repeat(np.arange(length), inside.sum(axis=1)), lasts[inside]


def _joined(found: list[_Candidates]) -> _Candidates:
    return _Candidates(
        ranks=np.concatenate([part.ranks for part in found]),
        starts=np.concatenate([part.starts for part in found]),
        ends=np.concatenate([part.ends for part in found]),
    )


def _best_distinct(all_of: _Candidates, top_k: int, *, log_mass: float) -> list[Answer]:
    """Return the best `top_k` distinct spans, each with its best rank."""
    fetched = 2 * top_k + 8
    while True:
        best = _best(all_of, fetched)
        # Best first, so of equal spans the first is kept.
        spans = np.stack([all_of.starts[best], all_of.ends[best]], axis=1)
        distinct = np.sort(np.unique(spans, axis=0, return_index=True)[1])[:top_k]
        if len(distinct) == top_k or fetched >= len(all_of.ranks):
            return [
                Answer(int(all_of.starts[i]), int(all_of.ends[i]), float(np.exp(all_of.ranks[i] - log_mass)))
                for i in best[distinct]
            ]
        fetched *= 4


def _best(all_of: _Candidates, count: int) -> Ints:
    """Return the `count` best candidates in order, and those with the same rank as the last."""
    ranks = all_of.ranks
    chosen = np.arange(len(ranks))
    if count < len(ranks):
        chosen = np.flatnonzero(ranks >= np.partition(ranks, -count)[-count])
    return chosen[np.lexsort((all_of.ends[chosen], all_of.starts[chosen], -ranks[chosen]))]
