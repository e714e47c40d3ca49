"""Output formats: the same table gives the same bytes, and comes back as it was."""

import io
import uuid

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpusmill.pipeline.errors import OutputError
from corpusmill.pipeline.output.commit import data_file
from corpusmill.pipeline.output.receipts import METADATA_KEY, UnitRecord
from corpusmill.pipeline.output.sinks import SINKS
from corpusmill.pipeline.spec import OutputSpec

RECORD = UnitRecord("u-00000-000000000-8", "/in/ü.jsonl", 0, 5, 3, 1, 4, 99, True)
CODECS = [(name, codec) for name, sink in SINKS.items() for codec in sink.codecs]
TABLE = pa.table(
    {
        "id": pa.array([1, None, 3]),
        "tags": [["a"], None, []],
        "meta": [{"a": 1}, None, {"a": None}],
        "label": pa.array(["x", None, "y"]).dictionary_encode(),
        "when": pa.array([1, None, 3], pa.timestamp("us", "UTC")),
        "embedding": pa.array([[1.0, 2.0], None, [3.0, 4.0]], pa.list_(pa.float32(), 2)),
        "large": pa.array(["a", None, "c"], pa.large_string()),
        "uuid": pa.ExtensionArray.from_storage(
            pa.uuid(), pa.array([uuid.UUID(int=i).bytes for i in range(3)], pa.binary(16))
        ),
        "labels": pa.array([[{"label": "a", "score": 0.5}], None, []]),
        "view": pa.array(["a", None, "longer than twelve bytes"], pa.string_view()),
    }
)


def written(name: str, codec: str | None, table: pa.Table = TABLE) -> bytes:
    return bytes(data_file(table, RECORD, OutputSpec("/out", name, None if codec == "none" else codec)))


@pytest.mark.parametrize(("name", "codec"), CODECS)
def test_the_same_table_gives_the_same_bytes(name: str, codec: str) -> None:
    """However it is cut into chunks: a second attempt's file cannot be told from the first's."""
    chunked = pa.concat_tables([TABLE.slice(0, 1), TABLE.slice(1)])
    assert written(name, codec) == written(name, codec)
    assert written(name, codec, chunked) == written(name, codec)


@pytest.mark.parametrize(("name", "codec"), CODECS)
def test_a_table_comes_back_with_its_record(name: str, codec: str) -> None:
    """Types and values of every column; the record also without reading the rows."""
    content = written(name, codec)
    table = SINKS[name].read(io.BytesIO(content))
    assert table.schema.equals(TABLE.schema)
    assert table.to_pylist() == TABLE.to_pylist()
    assert UnitRecord.from_metadata(SINKS[name].schema(io.BytesIO(content)).metadata) == RECORD
    assert METADATA_KEY in table.schema.metadata


@pytest.mark.parametrize("name", SINKS)
def test_a_unit_of_rejects_only_is_a_file_without_rows(name: str) -> None:
    """Its presence is its commit."""
    table = SINKS[name].read(io.BytesIO(written(name, "zstd", TABLE.slice(0, 0))))
    assert (table.num_rows, table.schema.equals(TABLE.schema)) == (0, True)


@pytest.mark.parametrize("name", SINKS)
def test_compression_is_used(name: str) -> None:
    """The codec that was asked for, not only its name."""
    table = pa.table({"text": ["the same words again and again"] * 1000})
    assert len(written(name, "zstd", table)) < len(written(name, "none", table)) / 2 or name == "parquet"


def test_one_batch_one_row_group_a_file() -> None:
    """A unit is read back in one piece."""
    table = pa.concat_tables([TABLE] * 5)
    assert pa.ipc.open_file(io.BytesIO(written("arrow", "zstd", table))).num_record_batches == 1
    assert pq.ParquetFile(io.BytesIO(written("parquet", "zstd", table))).num_row_groups == 1


def test_a_column_that_a_format_cannot_hold_says_so() -> None:
    """Parquet has no empty struct; the unit and the way out are named."""
    with pytest.raises(
        OutputError, match=r"u-00000-000000000-8 cannot be written as parquet \(.*\); leave the column out"
    ) as raised:
        written("parquet", "zstd", pa.table({"meta": pa.array([{}, None], pa.struct([]))}))
    assert raised.value.field == "output.format"


@pytest.mark.parametrize("name", SINKS)
def test_chosen_columns_are_read_alone(name: str) -> None:
    """Of any type, also of a struct of which Parquet stores each field as a column."""
    for column in TABLE.column_names:
        table = SINKS[name].read(io.BytesIO(written(name, "zstd")), [column])
        assert table.column_names == [column]
        assert table[column].to_pylist() == TABLE[column].to_pylist()
