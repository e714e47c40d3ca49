"""What `corpusmill evaluate` prints for people."""

from collections.abc import Iterator
from typing import Any

from corpusmill.jobs.evaluate.evaluation import Evaluation

MATRIX = 20
"""Labels up to which the confusion matrix is printed."""


def lines_of(found: Evaluation) -> Iterator[str]:
    """Yield what was counted, the scores, and a line a label."""
    yield f"{found.output}: {found.model + ', ' if found.model else ''}{found.task}"
    left_out = f"{found.without_label:,} without label, {found.without_prediction:,} without prediction"
    yield f"  {found.rows:,} rows, {found.evaluated:,} evaluated, {left_out}"
    for name, value in found.metrics.items():
        if name == "labels":
            yield from _labels(value)
        elif name == "confusion":
            yield from _confusion(value["labels"], value["matrix"])
        elif isinstance(value, dict):
            yield f"  {name}: {', '.join(f'{part} {_number(score)}' for part, score in value.items())}"
        else:
            yield f"  {name} {_number(value)}"


def _number(value: Any) -> str:
    if value is None:
        return "not defined"
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}"


def _labels(labels: dict[str, dict[str, Any]]) -> Iterator[str]:
    width = max(len(name) for name in ("label", *labels))
    yield f"  {'label':{width}}  precision  recall      f1     support"
    for name, scores in labels.items():
        precision, recall, f1 = (scores[part] for part in ("precision", "recall", "f1"))
        yield f"  {name:{width}}  {precision:9.4f}  {recall:6.4f}  {f1:6.4f}  {scores['support']:10,}"


def _confusion(labels: list[str], matrix: list[list[int]]) -> Iterator[str]:
    if len(labels) > MATRIX:
        yield f"  confusion matrix of {len(labels)} labels: see --json"
        return
    width = max(len(name) for name in labels)
    cell = max(len(str(count)) for row in matrix for count in row)
    yield "  confusion matrix, a row a label, a column a prediction in the same order"
    for name, row in zip(labels, matrix, strict=True):
        yield f"  {name:{width}}  {'  '.join(f'{count:{cell}}' for count in row)}"
