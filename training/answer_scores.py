"""Scores of the question-answering model against the rules' answers, and those of a baseline."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

from held_out import job_output
from questions import QUESTIONS, RULES, AnswerSpan, answer_of


def answer_scores(folder: Path, known: list[str], held_out: list[str]) -> dict[str, Any]:
    """Return, by kind, the shares of exact answers, and of empty ones to questions without an answer."""
    return {kind: _of_a_kind(folder, kind, known, held_out) for kind in RULES}


def _of_a_kind(folder: Path, kind: str, known: list[str], held_out: list[str]) -> dict[str, Any]:
    truth = [answer_of(text, kind) for text in held_out]
    table = job_output(
        folder,
        [{"text": text} for text in held_out],
        task="question-answering",
        dtype="float32",
        long_text="window",
        questions=[QUESTIONS[kind][0]],
        handle_impossible_answer=True,
    )
    found = [
        AnswerSpan(row["start"], row["end"]) if row and row["text"] else None
        for row in table["answer"].to_pylist()
    ]
    return {
        "answers": sum(answer is not None for answer in truth),
        **_shares(truth, found),
        "remembered": _shares(truth, _remembered(kind, known, held_out)),
    }


def _shares(truth: list[AnswerSpan | None], found: list[AnswerSpan | None]) -> dict[str, float]:
    with_answer = [pair for pair in zip(truth, found, strict=True) if pair[0] is not None]
    without = [answer for right, answer in zip(truth, found, strict=True) if right is None]
    return {
        "exact": round(sum(right == answer for right, answer in with_answer) / len(with_answer), 4),
        "silent_without_answer": round(sum(answer is None for answer in without) / len(without), 4),
    }


def _remembered(kind: str, known: list[str], texts: list[str]) -> list[AnswerSpan | None]:
    """Return the baseline's answers: the first string that was an answer at least twice in training."""
    answers = Counter(
        text[answer.start : answer.end] for text in known if (answer := answer_of(text, kind)) is not None
    )
    often = sorted((answer for answer, count in answers.items() if count > 1), key=len, reverse=True)
    pattern = re.compile(rf"(?<![\w.])(?:{'|'.join(map(re.escape, often))})(?!\w)")
    matches = (pattern.search(text) for text in texts)
    return [AnswerSpan(*match.span()) if match else None for match in matches]
