"""A tiny checkpoint and corpus, so that a measurement takes a second."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.tiny_checkpoints import write_checkpoint

from corpusmill.jobs.bench import Settings


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small checkpoint with long enough positions."""
    return str(write_checkpoint(tmp_path_factory.mktemp("tiny"), "bert", "embedding", max_positions=512))


@pytest.fixture
def settings(tiny: str, tmp_path: Path) -> Settings:
    """Twenty-four short documents, tokenized as the checkpoint wants them."""
    corpus = tmp_path / "corpus.parquet"
    texts = [
        f"the water runs down to house {i} and they watch it {'all night ' * (i % 5)}" for i in range(24)
    ]
    pq.write_table(pa.table({"text": texts}), corpus)
    return Settings(
        documents=24,
        corpus=str(corpus),
        tokenizer=f"{tiny}/tokenizer.json",
        architectures=(tiny,),
        dtypes=("float32",),
        threads=1,
        rounds=1,
    )
