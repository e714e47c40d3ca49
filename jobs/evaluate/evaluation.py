"""Predictions of a finished output against a column that its job kept: `corpusmill evaluate`."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.compute as pc

from corpusmill.jobs.evaluate.extras import extra
from corpusmill.jobs.evaluate.finished import FinishedOutput, choose_model, open_finished
from corpusmill.jobs.evaluate.kinds import KINDS
from corpusmill.jobs.evaluate.problems import EvaluateError
from corpusmill.jobs.evaluate.request import Kind, Metrics, Request


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
    extra("sklearn.metrics")  # before anything is read
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
