"""Input files, job specifications and checkpoints that the pipeline's tests share."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from support.tiny_checkpoints import write_checkpoint

from corpusmill.models import read_checkpoint
from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.checkpoints.find import digest
from corpusmill.pipeline.input.readers import READERS
from corpusmill.pipeline.input.unit_size import UnitSizing
from corpusmill.pipeline.input.units import Split
from corpusmill.pipeline.spec import InputSpec, ModelSpec, PoolSpec, TokenizerSpec
from corpusmill.pipeline.storage import StoredFile, stat_file
from corpusmill.pipeline.tasks import TASKS, embedding_options
from corpusmill.pipeline.tokenize.tokenizer import tokenizer_digest


@pytest.fixture
def parquet(tmp_path: Path) -> Callable[..., StoredFile]:
    """Write a table as a Parquet file and describe the file as listed."""

    def write(table: pa.Table, name: str = "in.parquet", **options: Any) -> StoredFile:
        pq.write_table(table, tmp_path / name, **options)
        return stat_file(str(tmp_path / name))

    return write


@pytest.fixture
def jsonl(tmp_path: Path) -> Callable[..., StoredFile]:
    """Write bytes, or objects one a line, and describe the file as listed."""

    def write(content: bytes | Sequence[dict[str, Any]], name: str = "in.jsonl") -> StoredFile:
        if not isinstance(content, bytes):
            content = "".join(json.dumps(row) + "\n" for row in content).encode()
        (tmp_path / name).write_bytes(content)
        return stat_file(str(tmp_path / name))

    return write


@pytest.fixture
def reading() -> Callable[..., list[UnitBlock]]:
    """Read a whole file through the table's reader, as the engine does: plan splits, then stream them."""
    return read_file


@pytest.fixture
def asking() -> Callable[..., InputSpec]:
    """What to read: the text column, the columns kept, and their types."""
    return input_spec


@pytest.fixture
def planning() -> Callable[..., list[Split]]:
    """Cut a file into splits of units of so many rows."""
    return cut


def input_spec(
    schema: pa.Schema, *keep: str, text: str = "text", pair: str | None = None, on_bad_row: str = "reject"
) -> InputSpec:
    return InputSpec(text, pair, keep, schema, on_bad_row)


def cut(
    file: StoredFile, spec: InputSpec, *, rows_per_unit: int = 4, file_format: str | None = None
) -> list[Split]:
    reader = READERS[file_format or ("parquet" if file.url.endswith(".parquet") else "jsonl")]
    return reader.splits(file, spec.columns, spec.text_columns, UnitSizing(rows_per_unit, 1.0, 128))


def read_file(
    file: StoredFile, spec: InputSpec, *, rows_per_unit: int = 4, skip: frozenset[int] = frozenset()
) -> list[UnitBlock]:
    return [
        block
        for split in cut(file, spec, rows_per_unit=rows_per_unit)
        for block in READERS[split.format].read(split, spec, skip)
    ]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A tiny checkpoint for a task and its options, written once."""
    written: dict[Any, Path] = {}

    def make(task: str = "embedding", architecture: str = "bert", **options: Any) -> Path:
        key = (task, architecture, *sorted(options.items()))
        if key not in written:
            written[key] = write_checkpoint(tmp_path_factory.mktemp(task), architecture, task, **options)
        return written[key]

    return make


@pytest.fixture(scope="session")
def tokenization() -> Callable[..., TokenizerSpec]:
    """The tokenization that a folder stands for."""

    def make(folder: Path, **wanted: Any) -> TokenizerSpec:
        return TokenizerSpec(str(folder), tokenizer_digest(str(folder)), str(folder), **wanted)

    return make


@pytest.fixture(scope="session")
def model(tokenization: Callable[..., TokenizerSpec]) -> Callable[..., ModelSpec]:
    """A model of a job, on one thread."""

    def make(
        folder: Path,
        task: str,
        *,
        tokens_per_batch: int = 64,
        prefix: str = "",
        max_length: int = 16,
        stride: int | None = None,
        pairs: bool = False,
        **options: Any,
    ) -> ModelSpec:
        needs = TASKS[task](
            read_checkpoint(folder, TASKS[task].head, embedding=embedding_options(task, options)), options
        ).needs
        tokenizer = tokenization(
            folder,
            columns=("text", "text_pair") if pairs else ("text",),
            limit=max_length if stride is None else None,
            offsets=needs.offsets,
            lengths=pairs and needs.cuts_longest,
            prompt=needs.prompt,
        )
        return ModelSpec(
            "model",
            prefix,
            str(folder),
            str(folder),
            digest(folder),
            task,
            "float32",
            "cpu",
            max_length,
            stride,
            tokens_per_batch,
            tokenizer,
            PoolSpec(1, 1),
            options,
        )

    return make


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny products on several threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
