"""Scores of reranking: nDCG and MRR over the queries of an output."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from finished_outputs import model, write_finished
from sklearn.metrics import ndcg_score

from corpusmill.jobs.evaluate import EvaluateError, Evaluation, evaluate


def scored(
    folder: Path,
    columns: dict[str, Any],
    files: int = 1,
    keep: tuple[str, ...] = ("gold", "text"),
    **given: str,
) -> Evaluation:
    """The evaluation of an output of scores, cut into files."""
    table = pa.table({**columns, "score": pa.array(columns["score"], pa.float32())})
    size = -(-len(table) // files)
    tables = [table.slice(i * size, size) for i in range(files)]
    made = write_finished(folder / "made", tables, model("reranking"), keep=keep)
    return evaluate(made, "gold", **given)


def expected(queries: Any, scores: Any, gold: Any) -> dict[str, float]:
    """scikit-learn's nDCG; MRR with irrelevant passages before relevant ones of the same score."""
    ndcg, mrr = [], []
    for query in np.unique(queries):
        found, right = scores[queries == query], gold[queries == query]
        ndcg.append(float(ndcg_score([right], [found], k=10)) if len(found) > 1 else float(right[0] > 0))
        order = sorted(range(len(found)), key=lambda i: (-found[i], right[i] > 0))
        ranks = [rank for rank, i in enumerate(order[:10], 1) if right[i] > 0]
        mrr.append(1 / ranks[0] if ranks else 0.0)
    return {"ndcg@10": float(np.mean(ndcg)), "mrr@10": float(np.mean(mrr))}


@pytest.mark.parametrize("grades", [2, 5])
@pytest.mark.parametrize("levels", [3, 10_000], ids=["ties", "no ties"])
@pytest.mark.parametrize("files", [1, 4])
def test_random_rankings_are_scored_as_by_scikit_learn(
    tmp_path: Path, files: int, levels: int, grades: int
) -> None:
    """Queries of one passage to thirty, spread over the files; some without a relevant passage."""
    random = np.random.default_rng(grades)
    queries = random.choice(40, 400, p=np.linspace(1, 3, 40) / 80)
    scores = (random.integers(0, levels, 400) / 7).astype(np.float32)
    gold = np.maximum(random.integers(-3, grades, 400), 0).astype(float) * (queries % 7 > 0)
    names = np.array([f"query {i}" for i in range(40)])[queries]
    found = scored(tmp_path, {"text": names, "gold": gold, "score": scores}, files).metrics
    none = sum(not gold[queries == query].any() for query in np.unique(queries))
    assert (found.pop("queries"), found.pop("without_relevant")) == (len(np.unique(queries)), none)
    assert found == pytest.approx(expected(queries, scores, gold))
    assert none


def test_grades_count_as_gains(tmp_path: Path) -> None:
    """The best passage second: its gain is discounted by log2(3); the passages behind it by more."""
    columns = {"text": ["q"] * 3, "gold": [1, 3, 0], "score": [0.9, 0.5, 0.1]}
    found = scored(tmp_path, columns).metrics
    assert found["ndcg@10"] == pytest.approx((1 + 3 / np.log2(3)) / (3 + 1 / np.log2(3)))
    assert found["mrr@10"] == 1.0


def test_equal_scores_earn_nothing(tmp_path: Path) -> None:
    """A job whose scores all are 1.0 is not measured as good."""
    columns = {"text": ["q"] * 12, "gold": [True] + [False] * 11, "score": [1.0] * 12}
    found = scored(tmp_path, columns).metrics
    assert found["mrr@10"] == 0.0
    assert found["ndcg@10"] < 0.4


def test_another_column_names_the_query(tmp_path: Path) -> None:
    """Integers do too; a row without a label or score is left out, whatever its query."""
    columns = {
        "topic": pa.array([7, 7, 8, 8, None]),
        "gold": [1, 0, 0, 1, None],
        "score": [0.9, 0.1, 0.9, 0.1, 0.3],
    }
    found = scored(tmp_path, columns, keep=("gold", "topic"), queries="topic")
    assert (found.rows, found.evaluated) == (5, 4)
    assert found.metrics["queries"] == 2
    assert found.metrics["mrr@10"] == 0.75


@pytest.mark.parametrize(
    ("columns", "queries", "message"),
    [
        ({}, None, "--queries: expected a column that names the query of each row; the job did not keep its"),
        ({}, "id", "--queries: expected a column that the job kept"),
        ({"topic": [None, "a"]}, "topic", "--queries: expected the query of each row, got null"),
        ({"topic": [0.5, 1.5]}, "topic", "--queries: expected strings or integers that name queries, got"),
        ({"topic": ["a", "a"], "gold": [-1, 2]}, "topic", "--labels: expected relevance from 0 up, got -1"),
    ],
)
def test_what_cannot_be_scored_is_reported(
    tmp_path: Path, columns: dict[str, Any], queries: str | None, message: str
) -> None:
    """With the option that names the column."""
    table = {"topic": ["a", "b"], "gold": [1, 0], "score": [0.1, 0.2], **columns}
    given = {} if queries is None else {"queries": queries}
    with pytest.raises(EvaluateError) as refused:
        scored(tmp_path, table, keep=("gold", "topic"), **given)
    field = f"{refused.value.field}: " if refused.value.field else ""
    assert f"{field}{refused.value}".startswith(message)
