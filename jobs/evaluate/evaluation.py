"""Predictions of a finished output against a column that its job kept: `corpusmill evaluate`."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from corpusmill.jobs.errors import EvaluateError
from corpusmill.jobs.evaluate.answers import question_answering
from corpusmill.jobs.evaluate.choices import multiple_choice, next_sentence
from corpusmill.jobs.evaluate.classification import text_classification, zero_shot
from corpusmill.jobs.evaluate.finished import FinishedOutput, choose_model, open_finished
from corpusmill.jobs.evaluate.masks import fill_mask
from corpusmill.jobs.evaluate.request import Kind, Metrics, Request
from corpusmill.jobs.evaluate.retrieval import embedding
from corpusmill.jobs.evaluate.spans import token_classification
from corpusmill.jobs.extras import extra

# Which predictions can be scored: a line a task, a file a kind.

KINDS: Mapping[str, Callable[[Request], Kind]] = {
    "embedding": embedding,
    "fill-mask": fill_mask,
    "multiple-choice": multiple_choice,
    "next-sentence-prediction": next_sentence,
    "question-answering": question_answering,
    "text-classification": text_classification,
    "token-classification": token_classification,
    "zero-shot-classification": zero_shot,
}

MATRIX = 20
"""Labels up to which the confusion matrix is printed."""


@dataclass(frozen=True)
class Evaluation:
    """What was measured. `model` is None where the job's only model has no name.

    `evaluated` rows have both a prediction and a label; a row without either is counted in both
    `without_label` and `without_prediction`. Scores are between 0 and 1, correlations between -1 and 1.
    """

    output: str
    model: str | None
    task: str
    rows: int
    evaluated: int
    without_label: int
    without_prediction: int
    metrics: Metrics


@dataclass
class _Counts:
    rows: int = 0
    evaluated: int = 0
    without_label: int = 0
    without_prediction: int = 0


def evaluate(
    output: str,
    labels: str,
    *,
    model: str | None = None,
    pairs: str | None = None,
    threshold: float | None = None,
) -> Evaluation:
    """Measure one model's predictions; raises EvaluateError, and OutputError for an unfinished output."""
    extra("sklearn.metrics", "evaluate")  # before anything is read
    finished = open_finished(output)
    chosen = choose_model(finished.models, model)
    _check_columns(finished, {"--labels": labels, "--pairs": pairs})
    request = Request(finished, chosen, labels, pairs, threshold)
    kind = _kind(request)
    counts = _score(request, kind)
    if not counts.evaluated:
        raise EvaluateError(
            f"{finished.folder.url}: expected rows with a prediction and a label in {labels!r}, got "
            f"{counts.rows} rows, {counts.without_label} without a label and "
            f"{counts.without_prediction} without a prediction"
        )
    return Evaluation(
        output=finished.folder.url,
        model=chosen.name or None,
        task=chosen.task,
        **asdict(counts),
        metrics=kind.scorer.metrics(),
    )


def _check_columns(output: FinishedOutput, columns: dict[str, str | None]) -> None:
    for argument, column in columns.items():
        if column is not None and column not in output.kept:
            raise EvaluateError(
                f"expected a column that the job kept ({', '.join(output.kept) or 'it kept none'}), got "
                f"{column!r}; add it to input.keep and run the job to another output.path"
            ).at(argument)


def _kind(request: Request) -> Kind:
    task = request.model.task
    if task not in KINDS:
        raise EvaluateError(f"expected predictions of {', '.join(KINDS)}, got {task}").at("--model")
    kind = KINDS[task](request)
    for argument in ("pairs", "threshold"):
        if getattr(request, argument) is not None and argument not in kind.uses:
            raise EvaluateError(f"means nothing for column {kind.column!r} of {task}; leave it out").at(
                f"--{argument}"
            )
    return kind


def _score(request: Request, kind: Kind) -> _Counts:
    """Give the scorer every row that has both, file by file, and count."""
    counts = _Counts()
    for rows in _rows(request, kind):
        predicted = rows["prediction"].is_valid()
        labelled = pa.repeat(True, len(rows)) if kind.null_is_a_label else rows["label"].is_valid()
        there = rows.filter(pc.and_(predicted, labelled))
        counts.rows += len(rows)
        counts.evaluated += len(there)
        counts.without_label += len(rows) - pc.sum(labelled, min_count=0).as_py()
        counts.without_prediction += len(rows) - pc.sum(predicted, min_count=0).as_py()
        if len(there):
            kind.scorer.add(there.combine_chunks())
    return counts


def _rows(request: Request, kind: Kind) -> Iterator[pa.Table]:
    """Yield each file's rows under the names that scorers know."""
    beside = {"pair": request.pairs, "score": kind.score}
    named = {name: column for name, column in beside.items() if column is not None}
    for table in request.output.tables([kind.column, request.labels, *named.values()]):
        rows = {
            "prediction": kind.predictions(table[kind.column].combine_chunks()),
            "label": kind.labels(table[request.labels].combine_chunks()),
        }
        yield pa.table(rows | {name: table[column] for name, column in named.items()})


# What `corpusmill evaluate` prints for people.


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
