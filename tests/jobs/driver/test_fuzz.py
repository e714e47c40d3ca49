"""Whatever bytes a JSONL file or a checkpoint's configuration holds: rows, rejects or an error in words."""

import io
import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.tiny_checkpoints import write_checkpoint

from corpusmill.jobs.inspect import inspect_checkpoint
from corpusmill.models import ModelError
from corpusmill.models.architectures import ARCHITECTURES
from corpusmill.pipeline.errors import BadRow, CorpusmillError
from corpusmill.pipeline.input.readers import READERS, jsonl
from corpusmill.pipeline.input.readers.infer import infer_schema
from corpusmill.pipeline.input.readers.streams import COMPRESSIONS, chunks, lines
from corpusmill.pipeline.input.unit_size import UnitSizing
from corpusmill.pipeline.spec import InputSpec
from corpusmill.pipeline.storage import stat_file

FEW, MANY = 100, 10_000
HANG = 5.0
"""Seconds of this thread's own work after which a case counts as hanging."""
SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("id", pa.int64()),
        ("value", pa.float32()),
        ("when", pa.timestamp("s")),
        ("tags", pa.list_(pa.string())),
        ("nested", pa.struct([("a", pa.int8()), ("b", pa.list_(pa.decimal128(5, 2)))])),
        ("kind", pa.dictionary(pa.int8(), pa.string())),
    ]
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["2020-01-01", "1.25", "\ud800", 2**63, -(2**63) - 1, 1e400, ""])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from(SCHEMA.names) | st.text(max_size=3), values, max_size=6)
written = objects.map(lambda row: json.dumps(row).encode())
raw = st.binary(max_size=60) | st.sampled_from(
    [
        b"",
        b"\xef\xbb\xbf{}",
        b"{",
        b"[1]",
        b"nul",
        b'{"text": "\xff"}',
        b'{"text": 1, "text": "a"}',
        b"\r",
        b"\0",
    ]
)


@st.composite
def spoiled_line(draw: st.DrawFn) -> bytes:
    """A good line with some of its bytes changed."""
    line = bytearray(draw(written))
    for _ in range(draw(st.integers(1, 3))):
        if line:
            line[draw(st.integers(0, len(line) - 1))] = draw(st.integers(0, 255))
    return bytes(line)


files = st.lists(written | raw | spoiled_line(), max_size=12).map(b"\n".join)


def cases(count: int) -> settings:
    return settings(
        max_examples=count, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
    )


def read_all(path: Path, content: bytes) -> None:
    """Reads what was written: every line that is no blank one is a row or a reject."""
    path.write_bytes(content)
    file = stat_file(str(path))
    spec = InputSpec("text", None, tuple(SCHEMA.names), SCHEMA)
    reader = READERS["jsonl"]
    started = time.thread_time()
    with suppress(CorpusmillError):  # such as that of a file that begins with '['
        reader.schema(file)
    blocks = [
        block
        for split in reader.splits(file, spec.columns, spec.text_columns, UnitSizing(3, 1.0, 8))
        for block in reader.read(split, spec, frozenset())
    ]
    rows = [
        line for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line and not line.isspace()
    ]
    assert sum(block.rows_read for block in blocks) == len(rows)
    assert sum(block.rows + len(block.rejects) for block in blocks) == len(rows)
    for block in blocks:
        block.kept.validate(full=True)
        assert all(reject.reason for reject in block.rejects)
    assert time.thread_time() - started < HANG


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.exhaustive)])
def test_any_bytes_are_rows_or_rejects(tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In byte ranges of 64; no exception but the error that says what the file is; kept values are valid."""
    monkeypatch.setattr(jsonl, "SPLIT_BYTES", 64)

    @cases(count)
    @given(content=files)
    def check(content: bytes) -> None:
        read_all(tmp_path / "in.jsonl", content)

    check()


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.exhaustive)])
def test_any_bytes_are_a_packed_file_or_an_error(count: int) -> None:
    """Damaged at any place; what is unpacked is never wrong in silence."""
    content = b"".join(json.dumps({"text": f"line {i}"}).encode() + b"\n" for i in range(50))

    @cases(count)
    @given(
        compression=st.sampled_from(sorted(COMPRESSIONS)),
        place=st.floats(0, 1),
        damage=st.binary(min_size=0, max_size=6),
        cut=st.booleans(),
    )
    def check(compression: str, place: float, damage: bytes, cut: bool) -> None:
        whole = compressed(compression, content)
        position = int(place * len(whole))
        spoiled = whole[:position] + damage + (b"" if cut else whole[position + len(damage) :])
        try:
            found = [line for _, line in lines(chunks(io.BytesIO(spoiled), compression, "x"))]
        except CorpusmillError:
            pass
        else:
            # zstd written here has no checksum: damage may go unseen, and then still gives lines.
            assert compression == "zstd" or spoiled[: len(whole)] == whole or len(found) == 50 or not spoiled

    check()


def compressed(compression: str, content: bytes) -> bytes:
    import bz2
    import gzip
    import lzma

    import zstandard

    packers: dict[str, Any] = {
        "gzip": gzip.compress,
        "bz2": bz2.compress,
        "xz": lzma.compress,
        "zstd": zstandard.compress,
    }
    packed: bytes = packers[compression](content)
    return packed


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.exhaustive)])
def test_any_lines_have_columns(count: int) -> None:
    """Inference never fails: what has no type says so."""

    @cases(count)
    @given(found=st.lists(written | raw | spoiled_line(), max_size=8))
    def check(found: list[bytes]) -> None:
        assert isinstance(infer_schema(found), pa.Schema)

    check()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("count", [FEW // 2, pytest.param(MANY, marks=pytest.mark.exhaustive)])
def test_any_configuration_of_a_checkpoint_is_loaded_or_refused(
    tmp_path: Path, architecture: str, count: int
) -> None:
    """Fields replaced, removed or added, or no JSON at all: an error in words, quickly."""
    folder = tmp_path / "spoiled"
    write_checkpoint(folder, architecture, "text-classification", layers=1)
    good = json.loads((folder / "config.json").read_text())
    sizes = st.sampled_from([-1, 0, 1, 2, 3, 16, 10**12, 2**63, 0.5, float("nan"), "16", [16], None, True])
    keys = st.sampled_from(sorted(good)) | st.text(max_size=4)
    contents = st.builds(
        lambda changes, gone: json.dumps(
            {k: v for k, v in (good | changes).items() if k not in gone}
        ).encode(),
        st.dictionaries(keys, sizes | values, max_size=3),
        st.sets(st.sampled_from(sorted(good)), max_size=2),
    )

    @cases(count)
    @given(content=contents | st.binary(max_size=40) | values.map(lambda value: json.dumps(value).encode()))
    def check(content: bytes) -> None:
        (folder / "config.json").write_bytes(content)
        started = time.thread_time()
        with suppress(CorpusmillError, ModelError):
            inspect_checkpoint(str(folder))
        assert time.thread_time() - started < HANG

    check()


def test_bad_rows_under_fail_are_one_error(tmp_path: Path) -> None:
    """The other setting has no traceback either."""
    spec = InputSpec("text", None, (), pa.schema([("text", pa.string())]), "fail")

    @cases(FEW)
    @given(content=files)
    def check(content: bytes) -> None:
        (tmp_path / "in.jsonl").write_bytes(content)
        file = stat_file(str(tmp_path / "in.jsonl"))
        reader = READERS["jsonl"]
        for split in reader.splits(file, ["text"], ("text",), UnitSizing(3, 1.0, 8)):
            with suppress(BadRow):
                list(reader.read(split, spec, frozenset()))

    check()
