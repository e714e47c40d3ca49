"""Recall and similarity of embeddings, of every stored type."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from finished_outputs import model, vectors, write_finished
from scipy.stats import pearsonr, spearmanr
from sklearn.neighbors import NearestNeighbors

from corpusmill.jobs.evaluate import EvaluateError, Evaluation, evaluate, retrieval


def scored(
    folder: Path, columns: dict[str, Any], files: int = 1, pairs: str | None = None, **options: Any
) -> Evaluation:
    """The evaluation of an output of embeddings, cut into files."""
    table = pa.table(columns)
    size = -(-len(table) // files)
    tables = [table.slice(i * size, size) for i in range(files)]
    made = write_finished(
        folder / "made", tables, model("embedding", **options), keep=["gold", "pair"] if pairs else ["gold"]
    )
    return evaluate(made, "gold", pairs=pairs)


def random_vectors(rows: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=(rows, 16)).astype(np.float32)


def expected_recall(vectors: np.ndarray[Any, Any], groups: np.ndarray[Any, Any]) -> dict[str, float]:
    """By scikit-learn's own neighbours."""
    near = NearestNeighbors(n_neighbors=10, metric="cosine").fit(vectors).kneighbors(return_distance=False)
    asked = np.array([(groups == group).sum() > 1 for group in groups])
    hits = {k: (groups[near[:, :k]] == groups[:, None]).any(1) for k in (1, 5, 10)}
    return {f"recall@{k}": float(hit[asked].mean()) for k, hit in hits.items()}


@pytest.mark.parametrize("cells", [100, 2**23])
@pytest.mark.parametrize("files", [1, 4])
def test_recall_is_that_of_the_nearest_neighbours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int, cells: int
) -> None:
    """For all divisions into files and blocks; a row alone in its group is no query, but is searched."""
    monkeypatch.setattr(retrieval, "SIMILARITIES_AT_ONCE", cells)
    monkeypatch.setattr(retrieval, "ROWS_AT_ONCE", 7)
    rows = random_vectors(60) * np.arange(1, 61, dtype=np.float32)[:, None]
    groups = np.random.default_rng(1).integers(0, 20, 60)
    groups[0] = 99
    columns = {"gold": groups, "embedding": vectors(rows.tolist(), pa.float32())}
    found = scored(tmp_path, columns, files)
    assert {name: found.metrics[name] for name in ("recall@1", "recall@5", "recall@10")} == expected_recall(
        rows, groups
    )
    sizes = np.bincount(groups)
    assert (found.metrics["queries"], found.metrics["groups"]) == (sizes[sizes > 1].sum(), (sizes > 1).sum())
    assert 0 < found.metrics["recall@1"] < found.metrics["recall@10"] < 1


@pytest.mark.parametrize("kind", [pa.float32(), pa.float16(), pa.int8(), pa.uint8()], ids=str)
def test_every_type_finds_the_same(tmp_path: Path, kind: pa.DataType) -> None:
    """All types hold small whole numbers; rows without a vector or a group are left out."""
    rows: list[Any] = [[9, 1, 0], [0, 1, 9], [8, 1, 0], [0, 1, 8], None, [9, 1, 0]]
    columns = {"gold": ["a", "b", "a", "b", "a", None], "embedding": vectors(rows, kind)}
    found = scored(tmp_path, columns)
    assert (found.rows, found.evaluated, found.without_label, found.without_prediction) == (6, 4, 1, 1)
    assert found.metrics == {
        "queries": 4,
        "groups": 2,
        "recall@1": 1.0,
        "recall@5": 1.0,
        "recall@10": 1.0,
    }


def test_packed_bits_are_compared_by_hamming_distance(tmp_path: Path) -> None:
    """127 and 128 are near as numbers and differ in every bit; 1 and 129 differ in one bit."""
    columns = {
        "gold": ["a", "a", "b", "b"],
        "embedding": vectors([[127, 1], [128, 1], [127, 129], [128, 129]], pa.uint8()),
    }
    assert scored(tmp_path / "numbers", columns).metrics["recall@1"] == 1.0
    assert scored(tmp_path / "bits", columns, output_dtype="binary").metrics["recall@1"] == 0.0
    near = {**columns, "gold": ["a", "b", "a", "b"]}
    assert scored(tmp_path / "near", near, output_dtype="binary").metrics["recall@1"] == 1.0


def test_a_model_that_gives_one_direction_finds_nothing(tmp_path: Path) -> None:
    """Ties count as misses, also if rounding makes them unequal."""
    rows = random_vectors(1) * np.arange(1, 31)[:, None]
    columns = {"gold": [i // 2 for i in range(30)], "embedding": vectors(rows.tolist(), pa.float32())}
    assert scored(tmp_path, columns).metrics["recall@10"] == 0.0


def test_a_row_does_not_find_itself(tmp_path: Path) -> None:
    """It does not count for its own group, even if the group's other row points away."""
    rows = [[1.0, 0.0], [-1.0, 0.0], [-0.1, 1.0], [-0.1, -1.0]]
    metrics = scored(tmp_path, {"gold": [1, 1, 2, 2], "embedding": vectors(rows, pa.float32())}).metrics
    assert (metrics["recall@1"], metrics["recall@5"]) == (0.0, 1.0)


def test_equal_vectors_within_groups_find_each_other(tmp_path: Path) -> None:
    """In any order; vectors of zeros are near to nothing."""
    rows = [*np.eye(8).tolist(), [0.0] * 8] * 2
    order = np.random.default_rng(0).permutation(18)
    columns = {"gold": order % 9, "embedding": vectors([rows[i] for i in order], pa.float32())}
    found = scored(tmp_path, columns, files=3).metrics
    assert (found["queries"], found["recall@1"]) == (18, pytest.approx(16 / 18))


def test_labels_that_are_all_different_are_no_groups(tmp_path: Path) -> None:
    """The column is probably an identifier."""
    columns = {"gold": [1, 2], "embedding": vectors([[1.0], [2.0]], pa.float32())}
    with pytest.raises(EvaluateError, match="groups of two rows or more"):
        scored(tmp_path, columns)


def paired() -> dict[str, Any]:
    """Return 20 pairs with labels, whose rows are far apart."""
    rows = random_vectors(40, seed=2)
    labels = np.random.default_rng(3).uniform(0, 5, 20)
    return {
        "gold": [*labels, *labels[::-1]],
        "pair": [f"p{i}" for i in [*range(20), *reversed(range(20))]],
        "embedding": vectors(rows.tolist(), pa.float32()),
    }


def cosines(columns: dict[str, Any]) -> list[float]:
    """Of the pairs of `paired`, in double precision."""
    rows = np.array(columns["embedding"].to_pylist(), float)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return [float(rows[i] @ rows[39 - i]) for i in range(20)]


@pytest.mark.parametrize("files", [1, 7])
def test_cosines_of_pairs_are_correlated_with_their_label(tmp_path: Path, files: int) -> None:
    """Against scipy on all pairs; partners may lie in different files."""
    columns = paired()
    found = scored(tmp_path, columns, files, pairs="pair")
    gold = columns["gold"][:20]
    assert found.evaluated == 40
    assert found.metrics == {
        "pairs": 20,
        "pearson": pytest.approx(pearsonr(cosines(columns), gold).statistic),
        "spearman": pytest.approx(spearmanr(cosines(columns), gold).statistic),
    }


def test_a_pair_of_which_a_row_is_left_out_is_left_out(tmp_path: Path) -> None:
    """One pair lacks a label, another one a vector."""
    columns = paired()
    columns["gold"] = [None, *columns["gold"][1:]]
    rows = columns["embedding"].to_pylist()
    columns["embedding"] = vectors([*rows[:-2], None, rows[-1]], pa.float32())
    found = scored(tmp_path, columns, 3, pairs="pair")
    assert (found.evaluated, found.without_label, found.without_prediction) == (38, 1, 1)
    assert found.metrics["pairs"] == 18
    expected = spearmanr(cosines(paired())[2:], columns["gold"][2:20]).statistic
    assert found.metrics["spearman"] == pytest.approx(expected)


def test_packed_bits_of_pairs(tmp_path: Path) -> None:
    """The more bits differ, the lower the cosine: 0, 1, 4 and 8 of 8."""
    columns = {
        "gold": [4.0, 3.0, 2.0, 1.0] * 2,
        "pair": [1, 2, 3, 4] * 2,
        "embedding": vectors([[5], [5], [5], [5], [5], [4], [10], [250]], pa.uint8()),
    }
    metrics = scored(tmp_path, columns, pairs="pair", output_dtype="binary").metrics
    assert metrics["spearman"] == pytest.approx(1.0)
    assert metrics["pearson"] == pytest.approx(pearsonr([0, -1, -4, -8], [4, 3, 2, 1]).statistic)


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ([1, 1, 1, 1], "exactly two rows, got 1 in 4"),
        ([1, 1, 2, 3], "exactly two rows, got 2 in 1"),
        ([1, 1, None, None], "exactly two rows, got None in 2"),
    ],
)
def test_a_pair_is_two_rows(tmp_path: Path, pair: list[int | None], message: str) -> None:
    """Counted over all files."""
    columns = {"gold": [1.0] * 4, "pair": pair, "embedding": vectors([[1.0]] * 4, pa.float32())}
    with pytest.raises(EvaluateError, match=message) as raised:
        scored(tmp_path, columns, 2, pairs="pair")
    assert raised.value.field == "--pairs"


def test_a_pair_has_one_label(tmp_path: Path) -> None:
    """Two different labels are ambiguous."""
    columns = {"gold": [1.0, 2.0], "pair": ["x", "x"], "embedding": vectors([[1.0], [2.0]], pa.float32())}
    with pytest.raises(EvaluateError, match=r"got 1\.0 and 2\.0 for 'x'"):
        scored(tmp_path, columns, pairs="pair")


def test_pairs_need_numbers(tmp_path: Path) -> None:
    """Groups need names; the errors have both."""
    columns = {"gold": ["a", "a"], "pair": [1, 1], "embedding": vectors([[1.0], [2.0]], pa.float32())}
    with pytest.raises(EvaluateError, match="expected numbers for embedding"):
        scored(tmp_path / "pairs", columns, pairs="pair")
    columns["gold"] = [0.5, 0.5]
    with pytest.raises(EvaluateError, match="or numbers with --pairs"):
        scored(tmp_path / "groups", columns)
