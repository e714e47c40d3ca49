"""Inputs that are made to fill the memory: read by a process of its own, whose peak is measured."""

import bz2
import gzip
import json
import lzma
import os
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

MEGABYTE = 1 << 20
READ = """
import json, re, sys
from pathlib import Path
import pyarrow as pa
from corpusmill.pipeline.input.planning import file_schemas, plan_splits
from corpusmill.pipeline.input.listing import list_files
from corpusmill.pipeline.engine.stages import read
from corpusmill.pipeline.input.planning import Pending
from corpusmill.pipeline.input.unit_size import UnitSizing
from corpusmill.pipeline.spec import InputSpec

def peak():
    # Not ru_maxrss: a new process begins with the peak of the one that started it.
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024

before = peak()
spec = InputSpec("text", None, (), pa.schema([("text", pa.string())]))
files = list_files([sys.argv[1]]).files
errors, rows, rejects, units, largest = [], 0, [], 0, 0
try:
    file_schemas(files, "auto", None)
    splits = plan_splits(files, "auto", spec, UnitSizing(None, 1e6, 512))
    for split in splits:
        for block in read(Pending(split, frozenset()), spec):
            rows, units = rows + block.rows, units + 1
            largest = max(largest, block.inputs.nbytes)
            rejects += [reject.reason for reject in block.rejects]
            errors += [block.error] if block.error else []
except Exception as error:
    errors.append(f"{type(error).__name__}: {error}")
print(json.dumps({"rows": rows, "units": units, "rejects": rejects, "errors": errors,
                  "largest": largest >> 20, "grown": peak() - before}))
"""


def reading(path: Path) -> dict[str, Any]:
    """Plan and read all of a path; `grown` is the peak of the memory in MB, over what the imports take."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True, env=environment
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def line(text: str = "fine") -> bytes:
    return json.dumps({"text": text}).encode() + b"\n"


@pytest.mark.slow
def test_a_line_of_500_megabytes_is_one_reject(tmp_path: Path) -> None:
    """Its neighbours are read."""
    with (tmp_path / "in.jsonl").open("wb") as file:
        file.write(line() + b'{"text": "')
        for _ in range(500):
            file.write(b"x" * MEGABYTE)
        file.write(b'"}\n' + line())
    found = reading(tmp_path / "in.jsonl")
    assert (found["rows"], found["rejects"], found["errors"]) == (2, ["line longer than 64 MiB"], [])
    assert found["grown"] < 300


PACK: dict[str, Callable[[], Any]] = {
    "gz": lambda: zlib.compressobj(6, wbits=31),
    "bz2": bz2.BZ2Compressor,
    "xz": lambda: lzma.LZMACompressor(preset=1),
    "zst": lambda: zstandard.ZstdCompressor(level=3).compressobj(),
}


def packed(path: Path, pieces: Iterator[bytes]) -> Path:
    """Writes a compressed file without ever holding its content."""
    packer = PACK[path.suffix.removeprefix(".")]()
    with path.open("wb") as file:
        for piece in pieces:
            file.write(packer.compress(piece))
        file.write(packer.flush())
    return path


@pytest.mark.parametrize(
    "suffix", ["zst", *(pytest.param(suffix, marks=pytest.mark.slow) for suffix in ("gz", "bz2", "xz"))]
)
def test_a_long_line_in_a_small_file_is_one_reject(tmp_path: Path, suffix: str) -> None:
    """300 MB of zeros in a few hundred kilobytes, between two lines."""
    pieces = [line(), b'{"text": "', *[bytes(MEGABYTE)] * 300, b'"}\n', line()]
    found = reading(packed(tmp_path / f"in.jsonl.{suffix}", iter(pieces)))
    assert (found["rows"], found["rejects"], found["errors"]) == (2, ["line longer than 64 MiB"], [])
    assert found["grown"] < 300


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "suffix"),
    [*((bytes(MEGABYTE), suffix) for suffix in PACK), (b"\n" * MEGABYTE, "gz")],
    ids=[*(f"one line, {suffix}" for suffix in PACK), "empty lines"],
)
def test_a_bomb_is_refused(tmp_path: Path, content: bytes, suffix: str) -> None:
    """1.25 GB in a few hundred kilobytes: one error that says so, in bounded memory."""
    path = packed(tmp_path / f"in.jsonl.{suffix}", (content for _ in range(1280)))
    assert path.stat().st_size < 4 * MEGABYTE
    found = reading(path)
    assert found["rows"] == 0
    (error,) = found["errors"]
    assert "expected at most 500 times as many as for any text" in error
    assert found["grown"] < 300


def test_text_that_repeats_itself_is_no_bomb(tmp_path: Path) -> None:
    """Small files may unpack to any multiple of themselves."""
    path = tmp_path / "in.jsonl.gz"
    path.write_bytes(gzip.compress(line() * 200_000))
    found = reading(path)
    assert (found["rows"], found["errors"]) == (200_000, [])


@pytest.mark.parametrize("rows", [10**6, pytest.param(10**7, marks=pytest.mark.slow)])
def test_a_row_group_is_read_a_unit_at_a_time(tmp_path: Path, rows: int) -> None:
    """However many rows it has."""
    schema = pa.schema([("text", pa.string())])
    texts = [f"text number {i * 7919 % 1000003} of very many others" for i in range(100_000)]
    table = pa.table({"text": texts * (rows // 100_000)}, schema=schema)
    pq.write_table(
        table, tmp_path / "in.parquet", row_group_size=rows, use_dictionary=False, compression=None
    )
    del table
    found = reading(tmp_path / "in.parquet")
    assert (found["rows"], found["errors"]) == (rows, [])
    assert found["units"] == -(-rows // 8192)
    assert found["grown"] < 200


@pytest.mark.slow
@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_long_texts_make_small_units(tmp_path: Path, form: str) -> None:
    """60 texts of 10 MB."""
    text = "long " * (2 * MEGABYTE)
    path = tmp_path / f"in.{form}"
    if form == "parquet":
        schema = pa.schema([("text", pa.string())])
        with pq.ParquetWriter(path, schema, use_dictionary=False) as writer:
            for _ in range(6):
                writer.write_table(pa.table({"text": [text] * 10}, schema=schema), row_group_size=10)
    else:
        with path.open("wb") as file:
            for _ in range(60):
                file.write(line(text))
    found = reading(path)
    assert (found["rows"], found["rejects"], found["errors"]) == (60, [], [])
    assert found["largest"] <= 64
    assert found["grown"] < 700


NESTED = {
    "lists": b"[" * 100_000 + b"]" * 100_000,
    "objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "open": b"[" * 5_000_000,
    "lists that end": b"[" * 900 + b"]" * 900,
    "objects that end": b'{"a":' * 900 + b"1" + b"}" * 900,
}


@pytest.mark.slow
@pytest.mark.parametrize("value", NESTED.values(), ids=NESTED)
@pytest.mark.parametrize("column", ["text", "other"])
def test_deep_nesting_is_a_reject_or_not_looked_at(tmp_path: Path, value: bytes, column: str) -> None:
    """Neither a crash nor an error; in a column that is not read, what can be parsed is no fault."""
    deep = b'{"%s": %s}\n' % (column.encode(), value)
    (tmp_path / "in.jsonl").write_bytes(line() + deep + line())
    found = reading(tmp_path / "in.jsonl")
    parsed = len(value) < 10_000
    assert found["errors"] == []
    assert (found["rows"], len(found["rejects"])) == ((3, 0) if parsed and column == "other" else (2, 1))
    assert found["grown"] < 300


@pytest.mark.parametrize("files", [2_000, pytest.param(100_000, marks=pytest.mark.exhaustive)])
def test_tiny_files_cost_little_each(tmp_path: Path, files: int) -> None:
    """One row each; ten kilobytes of memory at most."""
    for number in range(files):
        (tmp_path / f"{number}.jsonl").write_bytes(line(f"text {number}"))
    found = reading(tmp_path)
    assert (found["rows"], found["units"], found["errors"]) == (files, files, [])
    assert found["grown"] < 60 + files / 100
