"""Exact-match scores of spans, as in seqeval: start, end and label must be right."""

import re
from collections import Counter, defaultdict
from pathlib import Path

from corpusmill.jobs.demo.spans import LABELS, Span
from held_out import job_output
from variants import Example


def found_spans(checkpoint: Path, texts: list[str], *, aggregation: str) -> list[list[Span]]:
    """Return the spans that a job like the demo's finds in each text, with windows for long texts."""
    rows = [{"text": text} for text in texts]
    table = job_output(
        checkpoint, rows, task="token-classification", aggregation=aggregation, long_text="window"
    )
    return [[Span(x["start"], x["end"], x["label"]) for x in spans] for spans in table["spans"].to_pylist()]


def remembered_spans(known: list[Example], texts: list[str]) -> list[list[Span]]:
    """Return the baseline's spans: strings that were spans in training, as whole words, longest first."""
    labels: dict[str, Counter[str]] = defaultdict(Counter)
    for known_text, spans in known:
        for start, end, label in spans:
            labels[known_text[start:end]][label] += 1
    longest_first = sorted(labels, key=len, reverse=True)
    pattern = re.compile(rf"(?<![\w.])(?:{'|'.join(map(re.escape, longest_first))})(?!\w)")
    best = {string: counts.most_common(1)[0][0] for string, counts in labels.items()}
    return [[Span(*match.span(), best[match[0]]) for match in pattern.finditer(text)] for text in texts]


def span_scores(truth: list[list[Span]], predicted: list[list[Span]]) -> dict[str, dict[str, float]]:
    """Return precision, recall, F1 and the number of true spans, micro-averaged (`all`) and per label."""
    found, true, right = Counter[str](), Counter[str](), Counter[str]()
    for expected, got in zip(truth, predicted, strict=True):
        for counter, spans in ((true, expected), (found, got), (right, set(expected) & set(got))):
            for span in spans:
                counter.update([span.label, "all"])
    return {
        label: {
            "precision": round(right[label] / max(1, found[label]), 4),
            "recall": round(right[label] / max(1, true[label]), 4),
            "f1": round(2 * right[label] / max(1, found[label] + true[label]), 4),
            "spans": true[label],
        }
        for label in ("all", *LABELS)
    }
