"""Token probabilities to labelled spans of characters, for all documents of a unit at once.

T tokens in M documents, L labels, W words, P pieces (tokens or words), S spans.

The strategies are those of transformers' TokenClassificationPipeline, and so are their results:

    none        each token is a span, named by its label, prefix included
    simple      adjacent tokens of a type are a span
    first       a word takes the label of its first token,
    average     ... the label of the highest mean probability over its tokens,
    max         ... the label of its most certain token; then adjacent words of a type are a span

A piece continues the span before it when the types are the same and nothing comes between, unless it
begins a span (B, S, U) or the one before ended it (E, L, S, U). There are no other conditions, so no token
with a label other than O is lost, even if the model breaks its scheme:

    found                               becomes
    I-x after O, another type, E-x      a new span
    E-x or L-x with no x before it      a span of its own
    B-x with nothing after it           a span of its own
    B-x before S-x; S-x before E-x      two spans
    E-x before E-x                      two spans
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

Bools = np.ndarray[Any, np.dtype[np.bool_]]
Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]
Ints = np.ndarray[Any, np.dtype[np.integer[Any]]]

PREFIX_FAMILIES = ("ESM", "LU")
"""Prefixes other than B and I, which count only if the label set proves that they are prefixes."""


@dataclass(frozen=True, slots=True, eq=False)
class ScoredTokens:
    """The tokens of M documents in order, special tokens left out.

    Tokens of document m are `offsets[m]:offsets[m + 1]`. `probabilities` (T, L). `starts` and `ends` (T,)
    count code points of the document's text. `word_begins` (T,): the token is not a later piece of a word.
    """

    probabilities: Floats
    starts: Ints
    ends: Ints
    word_begins: Bools
    offsets: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """The spans of M documents, in order of their tokens; those of m are `offsets[m]:offsets[m + 1]`.

    `labels` (S,) indexes `names`. Spans of a document share no token.
    """

    offsets: Ints
    starts: Ints
    ends: Ints
    labels: Ints
    scores: Floats
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Pieces:
    """The tokens or words that are grouped into spans: each has one label and its probability."""

    labels: Ints
    scores: Floats
    starts: Ints
    ends: Ints
    offsets: Ints


# The labels that begin, continue and end a span, by their names.
#
# L labels.
#
# A label is a prefix and a type. `B-` and `I-` are prefixes; so are `E-`, `S-` and `M-` (BIOES, BMES), and
# `L-` and `U-` (BILOU), in a label set that has one of them before a type that `B-` or `I-` precedes too.
# Any other label is a type without prefix and counts as `I-`: a set may have no prefixes at all.
#
# Unlike the reference, which knows B- and I- alone and cuts any other label at its first dash, a type
# without prefix keeps its whole name: `-`, a label of punctuation models, would be lost.


@dataclass(frozen=True, slots=True, eq=False)
class LabelScheme:
    """The meaning of a model's labels: the type of each, and whether it begins or ends a span.

    `type_of` (L,) indexes `types`. `ignore` are the types that are not reported, or labels for "none".
    """

    labels: tuple[str, ...]
    types: tuple[str, ...]
    type_of: Ints
    begins: Bools
    ends: Bools
    ignore: tuple[str, ...]

    @classmethod
    def of(cls, labels: tuple[str, ...], ignore: tuple[str, ...] = ("O",)) -> Self:
        """Return the scheme that the names show; they are in the model's order."""
        prefixes = _prefixes(labels)
        parts = [_split(label, prefixes) for label in labels]
        types = tuple(dict.fromkeys(kind for _, kind in parts))
        return cls(
            labels=labels,
            types=types,
            type_of=np.array([types.index(kind) for _, kind in parts]),
            begins=np.array([prefix in "BSU" for prefix, _ in parts]),
            ends=np.array([prefix in "ELSU" for prefix, _ in parts]),
            ignore=ignore,
        )


def decode_spans(tokens: ScoredTokens, labels: LabelScheme, aggregation: str) -> Spans:
    """Return the spans of every document; the score is the mean of a span's tokens, or words."""
    pieces = _tokens(tokens) if aggregation in ("none", "simple") else _words(tokens, WORDS[aggregation])
    first_S: Ints = np.arange(len(pieces.labels))
    kinds_P, names = pieces.labels, labels.labels
    if aggregation != "none":
        first_S = _group_starts(pieces, labels)
        kinds_P, names = labels.type_of[pieces.labels], labels.types
    kinds_S = kinds_P[first_S]
    kept = np.array([name not in labels.ignore for name in names])[kinds_S]
    return Spans(
        offsets=np.searchsorted(first_S[kept], pieces.offsets),
        starts=pieces.starts[first_S[kept]],
        ends=pieces.ends[_last(first_S, len(kinds_P))[kept]],
        labels=kinds_S[kept],
        scores=_means(pieces.scores.astype(np.float64), first_S)[kept].astype(np.float32),
        names=names,
    )


def _first_rows(probabilities_TL: Floats, first_W: Ints) -> Floats:
    return probabilities_TL[first_W]


def _most_certain_rows(probabilities_TL: Floats, first_W: Ints) -> Floats:
    """Return, for each word, the row of its first token of greatest certainty."""
    certainty_T = probabilities_TL.max(axis=1)
    lengths_W = np.diff(first_W, append=len(certainty_T))
    # With "not less" even a word of NaN has a token, so every word gives one row.
    top_T = ~(certainty_T < np.repeat(np.maximum.reduceat(certainty_T, first_W), lengths_W))
    candidates = np.flatnonzero(top_T)
    return probabilities_TL[candidates[np.searchsorted(candidates, first_W)]]


def _means(values: Floats, first: Ints) -> Floats:
    """Return the means over `first[i]:first[i + 1]` along the first axis."""
    lengths = np.diff(first, append=len(values)).astype(values.dtype)
    sums: Floats = np.add.reduceat(values, first, axis=0)
    return sums / lengths.reshape(-1, *[1] * (values.ndim - 1))


WORDS: dict[str, Callable[[Floats, Ints], Floats]] = {
    "average": _means,
    "first": _first_rows,
    "max": _most_certain_rows,
}
"""From the probabilities (T, L) of tokens to those of words, whose first tokens are `first_W`."""

AGGREGATIONS = ("none", "simple", *WORDS)


def _tokens(tokens: ScoredTokens) -> _Pieces:
    return _pieces(tokens.probabilities, tokens.starts, tokens.ends, offsets=tokens.offsets)


def _words(tokens: ScoredTokens, rows: Callable[[Floats, Ints], Floats]) -> _Pieces:
    begins = tokens.word_begins.copy()
    begins[_document_starts(tokens.offsets)] = True
    first_W = np.flatnonzero(begins)
    return _pieces(
        rows(tokens.probabilities, first_W),
        tokens.starts[first_W],
        tokens.ends[_last(first_W, len(begins))],
        offsets=np.searchsorted(first_W, tokens.offsets),
    )


def _pieces(probabilities_PL: Floats, starts: Ints, ends: Ints, *, offsets: Ints) -> _Pieces:
    best = probabilities_PL.argmax(axis=1)
    scores = np.take_along_axis(probabilities_PL, best[:, None], axis=1)[:, 0]
    return _Pieces(labels=best, scores=scores, starts=starts, ends=ends, offsets=offsets)


def _group_starts(pieces: _Pieces, labels: LabelScheme) -> Ints:
    types_P = labels.type_of[pieces.labels]
    starts = labels.begins[pieces.labels]
    starts[1:] |= (types_P[1:] != types_P[:-1]) | labels.ends[pieces.labels[:-1]]
    starts[_document_starts(pieces.offsets)] = True
    return np.flatnonzero(starts)


def _document_starts(offsets: Ints) -> Ints:
    return offsets[:-1][offsets[:-1] < offsets[1:]]


def _last(first: Ints, length: int) -> Ints:
    return np.append(first[1:], length)[: len(first)] - 1


def _prefixes(labels: tuple[str, ...]) -> str:
    known = {label[2:] for label in labels if label.startswith(("B-", "I-"))}
    proven = {label[0] for label in labels if label[1:2] == "-" and label[2:] in known}
    return "BI" + "".join(family for family in PREFIX_FAMILIES if proven & set(family))


def _split(label: str, prefixes: str) -> tuple[str, str]:
    """Return prefix and type; without a prefix, I and the whole label."""
    if label[1:2] == "-" and label[0] in prefixes:
        return label[0], label[2:]
    return "I", label
