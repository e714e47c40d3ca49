"""The evaluation of a finished output against a column that its job kept: `corpusmill evaluate`."""

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
from corpusmill.jobs.evaluate.ranking import reranking
from corpusmill.jobs.evaluate.request import Metrics, Request, Scoring
from corpusmill.jobs.evaluate.retrieval import embedding
from corpusmill.jobs.evaluate.spans import token_classification
from corpusmill.jobs.extras import extra

# The tasks whose predictions can be scored, one line per task.

SCORINGS: Mapping[str, Callable[[Request], Scoring]] = {
    "embedding": embedding,
    "fill-mask": fill_mask,
    "multiple-choice": multiple_choice,
    "next-sentence-prediction": next_sentence,
    "question-answering": question_answering,
    "reranking": reranking,
    "text-classification": text_classification,
    "token-classification": token_classification,
    "zero-shot-classification": zero_shot,
}

LARGEST_MATRIX = 20
"""The most labels of a confusion matrix that is printed."""


@dataclass(frozen=True)
class Evaluation:
    """The scores of one model. `model` is None if the job's only model has no name.

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
class _RowCounts:
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
    queries: str | None = None,
) -> Evaluation:
    """Evaluate one model's predictions; raise EvaluateError, or OutputError for an unfinished output."""
    extra("sklearn.metrics", "evaluate")  # before anything is read
    finished = open_finished(output)
    chosen = choose_model(finished.models, model)
    _check_columns(finished, {"--labels": labels, "--pairs": pairs, "--queries": queries})
    request = Request(finished, chosen, labels, pairs, threshold, queries)
    scoring = _scoring(request)
    counts = _score(request, scoring)
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
        metrics=scoring.scorer.metrics(),
    )


def _check_columns(output: FinishedOutput, columns: dict[str, str | None]) -> None:
    for argument, column in columns.items():
        if column is not None and column not in output.kept:
            raise EvaluateError(
                f"expected a column that the job kept ({', '.join(output.kept) or 'it kept none'}), got "
                f"{column!r}; add it to input.keep and run the job with another output.path"
            ).at(argument)


def _scoring(request: Request) -> Scoring:
    task = request.model.task
    if task not in SCORINGS:
        raise EvaluateError(f"expected predictions of {', '.join(SCORINGS)}, got {task}").at("--model")
    scoring = SCORINGS[task](request)
    for argument in ("pairs", "threshold", "queries"):
        if getattr(request, argument) is not None and argument not in scoring.uses:
            raise EvaluateError(
                f"the scores of column {scoring.column!r} of {task} do not use it; leave it out"
            ).at(f"--{argument}")
    return scoring


def _score(request: Request, scoring: Scoring) -> _RowCounts:
    """Pass every row with a prediction and a label to the scorer, file by file; return the row counts."""
    counts = _RowCounts()
    for rows in _rows(request, scoring):
        predicted = rows["prediction"].is_valid()
        labelled = pa.repeat(True, len(rows)) if scoring.null_is_a_label else rows["label"].is_valid()
        scored = rows.filter(pc.and_(predicted, labelled))
        counts.rows += len(rows)
        counts.evaluated += len(scored)
        counts.without_label += len(rows) - pc.sum(labelled, min_count=0).as_py()
        counts.without_prediction += len(rows) - pc.sum(predicted, min_count=0).as_py()
        if len(scored):
            scoring.scorer.add(scored.combine_chunks())
    return counts


def _rows(request: Request, scoring: Scoring) -> Iterator[pa.Table]:
    """Yield each file's rows under the column names of `Scorer.add`."""
    query = request.query_column() if "queries" in scoring.uses else None
    optional = {"pair": request.pairs, "score": scoring.score, "query": query}
    named = {name: column for name, column in optional.items() if column is not None}
    for table in request.output.tables([scoring.column, request.labels, *named.values()]):
        rows = {
            "prediction": scoring.predictions(table[scoring.column].combine_chunks()),
            "label": scoring.labels(table[request.labels].combine_chunks()),
        }
        yield pa.table(rows | {name: table[column] for name, column in named.items()})


# The printed form of an evaluation.


def evaluation_lines(found: Evaluation) -> Iterator[str]:
    """Yield the row counts, the scores, and one line per label."""
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
    if len(labels) > LARGEST_MATRIX:
        yield f"  confusion matrix of {len(labels)} labels: see --json"
        return
    width = max(len(name) for name in labels)
    cell = max(len(str(count)) for row in matrix for count in row)
    yield "  confusion matrix: one row per label, one column per prediction, in the same order"
    for name, row in zip(labels, matrix, strict=True):
        yield f"  {name:{width}}  {'  '.join(f'{count:{cell}}' for count in row)}"
