"""The same settings give the same bytes; other orders, batches and units the same results to rounding."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from workshop import Workshop, contents

from corpusmill.jobs.verify.verify import verify
from corpusmill.pipeline.engine.inline import InlineEngine


@pytest.fixture
def both(workshop: Workshop) -> dict[str, Any]:
    """A job of an embedder and a classifier over two files, with a bad line and equal texts."""
    workshop.numbered(50)
    workshop.lines(['{"id": 70, "text": "same"}', "no json", '{"id": 71, "text": "same"}'], "in/b.jsonl")
    return {
        "models": [
            {"checkpoint": str(workshop.embedder), "name": "e"},
            {"checkpoint": str(workshop.classifier), "name": "c"},
        ]
    }


def run(workshop: Workshop, name: str, **changes: Any) -> Path:
    """Runs into a folder of this name."""
    output = workshop.folder / name
    workshop.run(output__path=str(output), **changes)
    return output


def rows(output: Path) -> pa.Table:
    files = pq.read_table(output / "_manifest.parquet")["file"].to_pylist()
    tables = [pa.ipc.open_file(output / name).read_all().replace_schema_metadata(None) for name in files]
    return pa.concat_tables(tables).sort_by("id")


def same_to_rounding(one: pa.Table, other: pa.Table) -> None:
    """Equal ids and labels; vectors and scores that differ by rounding."""
    assert one.schema == other.schema
    for name in ("id", "c_label"):
        assert one[name].to_pylist() == other[name].to_pylist()
    for name in ("e_embedding", "c_score"):
        np.testing.assert_allclose(
            np.array(one[name].to_pylist()), np.array(other[name].to_pylist()), atol=2e-6
        )


def test_the_same_settings_give_the_same_bytes(workshop: Workshop, both: dict[str, Any]) -> None:
    """Data, rejects and manifest."""
    one, other = run(workshop, "one", **both), run(workshop, "other", **both)
    for name in ("data", "rejects"):
        assert contents(one / name) == contents(other / name) != {}
    assert (one / "_manifest.parquet").read_bytes() == (other / "_manifest.parquet").read_bytes()


def test_the_order_of_units_does_not_matter(
    workshop: Workshop, both: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor what was done before in the same process."""
    undisturbed = InlineEngine.run
    one = run(workshop, "one", **both)
    monkeypatch.setattr(InlineEngine, "run", lambda self, pending: undisturbed(self, pending[::-1]))
    other = run(workshop, "other", **both)
    assert contents(one / "data") == contents(other / "data")
    assert (one / "_manifest.parquet").read_bytes() == (other / "_manifest.parquet").read_bytes()


@pytest.mark.parametrize("budget", [1, 16, 100_000])
def test_batch_budgets_change_rounding_only(workshop: Workshop, both: dict[str, Any], budget: int) -> None:
    """A row's neighbours in a batch are no part of its result."""
    one = run(workshop, "one", **both)
    models: Sequence[dict[str, Any]] = [model | {"tokens_per_batch": budget} for model in both["models"]]
    same_to_rounding(rows(one), rows(run(workshop, "other", models=models)))


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_unit_sizes_change_rounding_only(workshop: Workshop, both: dict[str, Any], size: int) -> None:
    """Nor its neighbours in the unit."""
    one = run(workshop, "one", **both)
    same_to_rounding(rows(one), rows(run(workshop, "other", input__rows_per_unit=size, **both)))


@pytest.mark.slow
@pytest.mark.parametrize("limit", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_a_limit_of_openmp_changes_no_result(workshop: Workshop, limit: str) -> None:
    """More threads than `OMP_THREAD_LIMIT` would leave parts of the products undefined.

    A larger `cpus` is noted.
    """
    workshop.numbered(50)
    job = workshop.job(models__0__pool={"cpus": 4})
    command = [str(Path(sys.executable).with_name("corpusmill")), "run", str(job), "--executor", "inline"]
    environment = os.environ | {"OMP_THREAD_LIMIT": limit, "OMP_NUM_THREADS": "4"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    assert f"models[0].pool.cpus: OMP_THREAD_LIMIT lets each worker use {limit} of its 4 CPUs" in done.stderr
    assert verify(str(workshop.output)).ok
    limited = rows(workshop.output)["embedding"].to_pylist()
    unlimited = rows(run(workshop, "unlimited"))["embedding"].to_pylist()
    np.testing.assert_allclose(limited, unlimited, atol=1e-5)
