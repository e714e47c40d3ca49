"""Jobs that keep timestamps as Spark writes them: INT96, years 1 to 9999."""

import json
from datetime import datetime

import pyarrow as pa
import pytest
from workshop import Workshop, contents

from corpusmill.jobs.verify.verify import verify
from corpusmill.pipeline.errors import OutputError

TIMES = [
    datetime(1, 1, 1),
    datetime(2024, 2, 29, 1, 2, 3, 4),
    None,
    datetime(9999, 12, 31, 23, 59, 59, 999999),
]
KEEP = ["id", "t"]


@pytest.fixture
def spark(workshop: Workshop) -> Workshop:
    """Files as Spark writes them, of four rows."""
    times = pa.array(TIMES, pa.timestamp("us"))
    rows = pa.table({"id": range(4), "text": ["a", "b", "c", "d"], "t": times})
    workshop.table(rows, use_deprecated_int96_timestamps=True)
    return workshop


@pytest.mark.parametrize("output_format", ["arrow", "parquet"])
def test_the_output_has_the_timestamps_of_the_input(spark: Workshop, output_format: str) -> None:
    """As microseconds, in both output formats; `verify` agrees."""
    spark.run(input__keep=KEEP, output__format=output_format)
    table = spark.read()
    assert table.schema.field("t").type == pa.timestamp("us")
    assert table["t"].to_pylist() == TIMES
    assert verify(str(spark.output)).ok


def test_a_file_of_nanoseconds_beside_it_makes_far_years_rejects(spark: Workshop) -> None:
    """The common type is nanoseconds, which hold neither year 1 nor 9999."""
    near = pa.array([datetime(2024, 1, 1)], pa.timestamp("ns"))
    spark.table({"id": [9], "text": ["e"], "t": near}, "in/b.parquet")
    result = spark.run(input__keep=KEEP)
    assert (result.rows, result.rejected) == (3, 2)
    assert sorted(spark.read()["id"].to_pylist()) == [1, 2, 9]
    assert [(reject["row"], json.loads(reject["raw"])["t"]) for reject in spark.rejects()] == [
        (0, "0001-01-01 00:00:00"),
        (3, "9999-12-31 23:59:59.999999"),
    ]
    assert all("expected timestamp[ns]" in reject["reason"] for reject in spark.rejects())
    assert verify(str(spark.output)).ok


def test_an_output_begun_with_nanoseconds_is_refused(spark: Workshop) -> None:
    """Its rows have another type: it is refused before anything is written."""
    spark.run(input__keep=KEEP)
    record = spark.output / "_job/fingerprint.json"
    parts = json.loads(record.read_text())
    assert parts["input.schema"]["t"] == "timestamp[us]"
    parts["input.schema"]["t"] = "timestamp[ns]"  # as versions wrote it that read INT96 so
    record.write_text(json.dumps(parts))
    (data,) = (spark.output / "data").iterdir()
    data.unlink()
    before = contents(spark.output)
    with pytest.raises(
        OutputError, match=r"holds the output of another job, .*timestamp\[ns\].*in the folder"
    ) as raised:
        spark.run(input__keep=KEEP)
    assert raised.value.field == "output.path"
    assert contents(spark.output) == before
