"""Outputs open without corpusmill: DuckDB, Polars, pandas, Hugging Face datasets and Lance read them."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pytest
from workshop import Workshop, texts

ROWS = 40


@pytest.fixture(params=["arrow", "parquet"])
def output(request: pytest.FixtureRequest, workshop: Workshop) -> tuple[Path, str]:
    """A finished output in each format: ids, vectors, labels."""
    workshop.numbered(ROWS)
    models = [
        {"checkpoint": str(workshop.embedder), "name": "vector"},
        {"checkpoint": str(workshop.classifier), "name": "mood"},
    ]
    workshop.run(models=models, input__keep=["id", "text"], output__format=request.param)
    return workshop.output, request.param


def arrow_format(output_format: str) -> str:
    return "ipc" if output_format == "arrow" else output_format


def test_duckdb_finds_nearest_neighbours(output: tuple[Path, str]) -> None:
    """In SQL, over the files as they are; the same ones as NumPy finds."""
    import duckdb

    folder, output_format = output
    docs = pyarrow.dataset.dataset(folder / "data", format=arrow_format(output_format))
    size = docs.schema.field("vector_embedding").type.list_size
    with duckdb.connect() as database:
        database.register("docs", docs)
        found = database.sql(
            f"""
            WITH query AS (SELECT vector_embedding::FLOAT[{size}] AS v FROM docs WHERE id = 7)
            SELECT id, array_cosine_similarity(vector_embedding::FLOAT[{size}], v) AS near
            FROM docs, query ORDER BY near DESC, id LIMIT 5
            """
        ).fetchall()
    table = docs.to_table()
    vectors = np.stack(table["vector_embedding"].to_pylist())
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    query = table["id"].to_pylist().index(7)
    expected = np.sort(vectors @ vectors[query])[::-1][:5]
    assert found[0][0] == 7
    assert [near for _, near in found] == pytest.approx(expected.tolist(), abs=1e-5)


def test_polars_reads_it(output: tuple[Path, str]) -> None:
    """Lazily; labels are categories, vectors arrays."""
    import polars as pl

    folder, output_format = output
    pattern = f"{folder}/data/*.{output_format}"
    lazy = pl.scan_ipc(pattern) if output_format == "arrow" else pl.scan_parquet(pattern)
    counted = lazy.group_by("mood_label").len().collect()
    assert counted["len"].sum() == ROWS
    assert isinstance(lazy.collect_schema()["vector_embedding"], pl.Array)


def test_pandas_reads_it(output: tuple[Path, str]) -> None:
    """A frame whose vectors are arrays."""
    folder, output_format = output
    frame = (
        pyarrow.dataset.dataset(folder / "data", format=arrow_format(output_format)).to_table().to_pandas()
    )
    assert sorted(frame["id"]) == list(range(ROWS))
    assert frame.groupby("mood_label", observed=True).size().sum() == ROWS
    assert np.stack(frame["vector_embedding"].to_list()).shape[0] == ROWS


def test_hugging_face_datasets_reads_it(
    output: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From local files, offline."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf"))
    import datasets

    folder, output_format = output
    files = sorted(map(str, (folder / "data").glob("*")))
    if output_format == "arrow":
        tables = [pa.ipc.open_file(pa.memory_map(name)).read_all() for name in files]
        rows = datasets.concatenate_datasets([datasets.Dataset(table) for table in tables])
    else:
        rows = datasets.load_dataset(
            "parquet", data_files=files, split="train", cache_dir=str(tmp_path / "hf")
        )
    assert sorted(rows["id"]) == list(range(ROWS))
    assert {"vector_embedding", "mood_label", "mood_score"} <= set(rows.column_names)


def test_lance_takes_it_and_searches(output: tuple[Path, str], tmp_path: Path) -> None:
    """Written to a Lance table in one line; its vector search finds the row itself first."""
    import lance

    folder, output_format = output
    docs = pyarrow.dataset.dataset(folder / "data", format=arrow_format(output_format))
    plain = docs.to_table(columns=["id", "vector_embedding"])
    table: Any = lance.write_dataset(plain, str(tmp_path / "docs.lance"))
    query = plain["vector_embedding"][3].values.to_numpy()
    nearest = table.to_table(nearest={"column": "vector_embedding", "q": query, "k": 3})
    assert nearest["id"][0].as_py() == plain["id"][3].as_py()


def test_texts_are_the_inputs_own(output: tuple[Path, str]) -> None:
    """What all of the above read is what went in."""
    folder, output_format = output
    table = pyarrow.dataset.dataset(folder / "data", format=arrow_format(output_format)).to_table()
    assert dict(zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True)) == dict(
        enumerate(texts(ROWS))
    )
