"""Logits of windows to answers: against transformers' figures, and against every span tried one by one."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpusmill.pipeline.tasks.answers import Answer, AnswerWindow, best_answers

STARTS = np.array([0, 4, 6, 8, 12, 20, 23, 27, 31, 36])
ENDS = np.array([3, 6, 8, 11, 19, 22, 26, 31, 35, 39])
BEGINS = np.array([1, 1, 0, 0, 1, 1, 1, 1, 0, 1], bool)
"""the | an ##em ##one | [UNK] | to | the | blue ##bird | now"""
BEGINS.setflags(write=False)  # as arrays over Arrow's memory are
START_LOGITS = np.array([-2.0, 0.1, 2.7, -1.0, -1.2, 1.0, 0.7, 0.2, -1.9, -0.1], np.float32)
END_LOGITS = np.array([-0.5, -2.5, 0.5, 0.3, -0.4, -5.0, -1.1, -0.1, 0.2, -3.1], np.float32)


def window(
    start: Any, end: Any, *, first: int = 0, null_start: float = 0.0, null_end: float = 0.0
) -> AnswerWindow:
    return AnswerWindow(
        first, np.asarray(start, np.float32), np.asarray(end, np.float32), null_start, null_end
    )


def answers(
    *windows: AnswerWindow,
    starts: np.ndarray[Any, Any] = STARTS,
    ends: np.ndarray[Any, Any] = ENDS,
    begins: np.ndarray[Any, Any] = BEGINS,
    top_k: int = 100,
    longest: int = 15,
    impossible: bool = False,
) -> list[Answer]:
    return best_answers(
        windows,
        starts,
        ends,
        begins,
        top_k=top_k,
        max_answer_length=longest,
        handle_impossible_answer=impossible,
    )


def spans(found: list[Answer]) -> list[tuple[int, int]]:
    return [(answer.start, answer.end) for answer in found]


def tokens(count: int) -> dict[str, np.ndarray[Any, Any]]:
    """Words of one token: token i is code points 10 i to 10 i + 9."""
    starts = np.arange(count) * 10
    return {"starts": starts, "ends": starts + 9, "begins": np.ones(count, bool)}


@pytest.mark.parametrize(
    ("null", "options", "expected"),
    [
        (
            (0.0, -2.7),
            {"top_k": 8},
            [
                (4, 11, 0.142645),
                (4, 35, 0.105674),
                (4, 19, 0.057995),
                (4, 26, 0.0287994),
                (20, 35, 0.0193048),
                (23, 35, 0.0143014),
                (27, 35, 0.00867422),
                (20, 26, 0.00526118),
            ],
        ),
        ((0.0, -2.7), {"longest": 3, "impossible": True, "top_k": 2}, [(4, 11, 0.142645), (4, 19, 0.057995)]),
        (
            (3.0, 1.0),
            {"longest": 3, "impossible": True, "top_k": 8},
            [
                (0, 0, 0.129782),
                (4, 11, 0.058315),
                (4, 19, 0.0237091),
                (20, 35, 0.00584659),
                (23, 35, 0.00584659),
                (27, 35, 0.00354614),
                (20, 26, 0.00215084),
                (23, 26, 0.00159338),
            ],
        ),
        (
            (3.0, 1.0),
            {"longest": 1},
            [
                (4, 11, 0.058315),
                (27, 35, 0.00262704),
                (23, 26, 0.00159338),
                (12, 19, 0.000479918),
                (0, 3, 0.00019512),
                (36, 39, 0.0000968937),
                (20, 22, 0.0000435371),
            ],
        ),
    ],
    ids=["default", "short", "impossible", "one-token"],
)
def test_one_window_gives_the_answers_of_transformers(
    null: tuple[float, float], options: dict[str, Any], expected: list[tuple[int, int, float]]
) -> None:
    """Figures of 4.48.3's question-answering pipeline, equal spans reduced to the best and ties ordered."""
    found = answers(
        window(START_LOGITS, END_LOGITS, null_start=null[0], null_end=null[1]), **{"top_k": 100, **options}
    )
    assert spans(found) == [(start, end) for start, end, _ in expected]
    assert [answer.score for answer in found] == pytest.approx([score for _, _, score in expected], rel=1e-5)


def every_span(
    windows: list[AnswerWindow],
    starts: np.ndarray[Any, Any],
    ends: np.ndarray[Any, Any],
    begins: np.ndarray[Any, Any],
    *,
    longest: int,
    impossible: bool,
) -> list[Answer]:
    """The definition, span by span. Ranks by sums of logits, which are small whole numbers and so exact."""
    null = min((w.null_start + w.null_end, i) for i, w in enumerate(windows))[1]
    null_start, null_end = windows[null].null_start, windows[null].null_end
    mass_start = math.exp(null_start) + sum(math.exp(x) for w in windows for x in w.start_logits.tolist())
    mass_end = math.exp(null_end) + sum(math.exp(x) for w in windows for x in w.end_logits.tolist())
    best: dict[tuple[int, int], float] = {(0, 0): null_start + null_end} if impossible else {}
    for w in windows:
        for i, start_logit in enumerate(w.start_logits.tolist()):
            for j, end_logit in enumerate(w.end_logits.tolist()):
                if not 0 <= j - i < longest:
                    continue
                first, last = w.first + i, w.first + j
                while first > 0 and not begins[first]:
                    first -= 1
                while last + 1 < len(starts) and not begins[last + 1]:
                    last += 1
                key = (int(starts[first]), int(ends[last]))
                best[key] = max(best.get(key, -math.inf), start_logit + end_logit)
    ranked = sorted((-total, *key) for key, total in best.items())
    return [Answer(start, end, math.exp(-total) / mass_start / mass_end) for total, start, end in ranked]


@st.composite
def documents(draw: Callable[..., Any]) -> tuple[list[AnswerWindow], dict[str, np.ndarray[Any, Any]]]:
    """A document, and windows that overlap, leave parts out, or hold none of it."""
    count = draw(st.integers(1, 12))
    begins = np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    starts = np.cumsum(draw(st.lists(st.integers(3, 5), min_size=count, max_size=count))) - 3
    windows = []
    for _ in range(draw(st.integers(1, 3))):
        first = draw(st.integers(0, count))
        length = draw(st.integers(0, count - first))
        logits = st.lists(st.integers(-4, 4), min_size=length, max_size=length)
        nulls = {"null_start": draw(st.integers(-4, 6)), "null_end": draw(st.integers(-4, 6))}
        windows.append(window(draw(logits), draw(logits), first=first, **nulls))
    return windows, {"starts": starts, "ends": starts + 2, "begins": begins}


@settings(max_examples=400, derandomize=True, deadline=None)
@given(
    document=documents(),
    top_k=st.integers(1, 30),
    longest=st.integers(1, 14),
    impossible=st.booleans(),
)
def test_answers_are_the_best_of_all_spans(
    document: tuple[list[AnswerWindow], dict[str, np.ndarray[Any, Any]]],
    top_k: int,
    longest: int,
    impossible: bool,
) -> None:
    """Across windows, words of several tokens, ties and any number asked for."""
    windows, text = document
    found = answers(*windows, **text, top_k=top_k, longest=longest, impossible=impossible)
    expected = every_span(windows, **text, longest=longest, impossible=impossible)[:top_k]
    assert spans(found) == spans(expected)
    assert [a.score for a in found] == pytest.approx([a.score for a in expected], rel=1e-9)


def test_windows_compete_in_one_softmax() -> None:
    """A window of low logits does not get the share that it would have alone."""
    low, high = window([0.0], [0.0]), window([2.0], [2.0], first=1)
    found = answers(low, high, **tokens(2))
    assert spans(found) == [(10, 19), (0, 9)]
    mass = math.e**2 + 1 + 1
    assert [a.score for a in found] == pytest.approx([(math.e**2 / mass) ** 2, (1 / mass) ** 2])


def test_the_window_that_speaks_least_for_no_answer_decides_on_it() -> None:
    """One window with the answer is enough, whatever the others say."""
    sure = window([4.0], [4.0], null_start=-1.0, null_end=-1.0)
    without = window([0.0], [0.0], first=1, null_start=9.0, null_end=9.0)
    found = answers(without, sure, **tokens(2), impossible=True, top_k=2)
    assert spans(found) == [(0, 9), (10, 19)]
    assert spans(answers(without, **tokens(2), impossible=True, top_k=1)) == [(0, 0)]


def test_a_span_over_the_edge_of_one_window_is_found_in_the_one_that_holds_it() -> None:
    """The other sees its start alone."""
    left = window([0, 0, 0, 5], [0, 0, 0, 1])
    right = window([0, 4, 0, 0], [0, 0, 6, 0], first=2)
    assert spans(answers(left, right, **tokens(6), top_k=1)) == [(30, 49)]
    assert (30, 49) not in spans(answers(left, **tokens(6)))


def test_start_and_end_come_from_the_same_window() -> None:
    """The best start of one and the best end of another are no candidate."""
    left, right = window([5, 0], [0, 0]), window([0, 0], [0, 5])
    best, *_ = answers(left, right, **tokens(2))
    mass = math.exp(5) + 4
    assert best.score == pytest.approx(math.exp(5) / mass / mass)


@pytest.mark.parametrize("impossible", [False, True])
def test_huge_logits_neither_overflow_nor_lose_the_order(impossible: bool) -> None:
    """Times a million: scores are 0 or 1, the ranking is the same."""
    found = answers(
        window(START_LOGITS * 1e6, END_LOGITS * 1e6, null_start=0.0, null_end=-2.7e6), impossible=impossible
    )
    plain = answers(window(START_LOGITS, END_LOGITS, null_start=0.0, null_end=-2.7), impossible=impossible)
    assert spans(found)[:5] == spans(plain)[:5]
    assert sorted(spans(found)) == sorted(spans(plain))
    assert [answer.score for answer in found] == [1.0] + [0.0] * (len(found) - 1)


def test_half_precision_logits_are_widened_first() -> None:
    """Their sum would be more than float16 holds."""
    half = AnswerWindow(0, np.array([6e4, 5e4], np.float16), np.array([6e4, 6e4], np.float16), 0.0, 0.0)
    assert spans(answers(half, **tokens(2), top_k=3)) == [(0, 9), (0, 19), (10, 19)]


@pytest.mark.parametrize("impossible", [False, True])
def test_more_answers_than_there_are_gives_all_distinct_ones(impossible: bool) -> None:
    """Seven words; token spans that widen to the same words count once (transformers issue 38984)."""
    found = answers(window(START_LOGITS, END_LOGITS), top_k=1000, impossible=impossible)
    words = [(0, 3), (4, 11), (12, 19), (20, 22), (23, 26), (27, 35), (36, 39)]
    expected = {(a, b) for i, (a, _) in enumerate(words) for _, b in words[i:]}
    assert len(found) == len(expected) + impossible
    assert set(spans(found)) - {(0, 0)} == expected


def test_as_many_answers_as_asked_for_where_the_best_spans_are_all_of_one_word() -> None:
    """The first hundreds of candidates are pieces of one long word."""
    pieces = 40
    start, end = np.zeros(pieces + 2), np.zeros(pieces + 2)
    start[:pieces] = end[:pieces] = 9.0
    text = tokens(pieces + 2)
    text["begins"][1:pieces] = False
    found = answers(window(start, end), **text, top_k=3, longest=pieces)
    assert spans(found)[0] == (0, 10 * pieces - 1)
    assert len(found) == 3


def test_equal_scores_are_ordered_by_start_then_end() -> None:
    """Also where the cut falls among them."""
    equal = window([1.0] * 40, [1.0] * 40)
    ordered = [(10 * i, 10 * j + 9) for i in range(40) for j in range(i, min(i + 15, 40))]
    for top_k in (1, 7, 20):
        assert spans(answers(equal, **tokens(40), top_k=top_k)) == ordered[:top_k]


def test_the_impossible_answer_takes_part_only_where_it_may() -> None:
    """Its share of the softmax stays."""
    only = window([0.0], [0.0], null_start=math.log(3), null_end=math.log(3))
    assert answers(only, **tokens(1)) == [Answer(0, 9, pytest.approx(1 / 16))]
    assert answers(only, **tokens(1), impossible=True) == [
        Answer(0, 0, pytest.approx(9 / 16)),
        Answer(0, 9, pytest.approx(1 / 16)),
    ]


def test_a_token_without_characters_is_no_answer() -> None:
    """It would read as 0, 0."""
    text = tokens(2)
    text["starts"][0] = text["ends"][0] = 0
    assert spans(answers(window([9, 0], [9, 0]), **text)) == [(0, 19), (10, 19)]


@pytest.mark.parametrize("impossible", [False, True])
def test_a_document_without_tokens_has_no_answer(impossible: bool) -> None:
    """With or without the window that its question made; nor has one that no window was made of."""
    assert answers(**tokens(0), impossible=impossible) == []
    assert answers(**tokens(2), impossible=impossible) == []
    assert answers(window([], []), **tokens(0), impossible=impossible) == []


def test_long_documents_need_memory_for_their_spans_only() -> None:
    """A square of these tokens would be 80 GB."""
    count = 100_000
    start, end = np.zeros(count), np.zeros(count)
    start[70_000] = end[70_003] = 9.0
    assert spans(answers(window(start, end), **tokens(count), top_k=1)) == [(700_000, 700_039)]
