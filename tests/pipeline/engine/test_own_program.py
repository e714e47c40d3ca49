"""The stages in a user's own Ray Data program."""

from pathlib import Path

import pyarrow as pa
import pytest
import ray.data

from corpusmill.jobs import model_spec
from corpusmill.pipeline.ray_data import Encode, Tokenize


@pytest.mark.slow
def test_a_program_of_ones_own_tokenizes_and_encodes(ray_cluster: None, checkpoints: dict[str, Path]) -> None:
    """Rows read, tokenized in tasks, encoded by an actor that loads the model once."""
    model = model_spec(str(checkpoints["classifier"]), name="mood", task="text-classification")
    texts = [f"the house by the river {i}" for i in range(50)]
    rows = (
        ray.data.from_arrow(pa.table({"id": list(range(50)), "body": texts}))
        .map_batches(Tokenize(model, text="body"), batch_format="pyarrow", batch_size=20)
        .map_batches(Encode, fn_constructor_args=(model,), batch_format="pyarrow", concurrency=1, num_cpus=0)
        .take_all()
    )
    assert sorted(row["id"] for row in rows) == list(range(50))
    assert {name for row in rows for name in row} == {"id", "body", "mood_label", "mood_score"}
    alone = Encode(model)(Tokenize(model, text="body")(pa.table({"body": texts})))
    expected = dict(enumerate(alone["mood_score"].to_pylist()))
    assert {row["id"]: row["mood_score"] for row in rows} == pytest.approx(expected, abs=1e-5)
