"""Committing a unit: whole or not at all, the same bytes each time, and every row accounted for."""

import glob
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest

from corpusmill.pipeline.blocks import Reject, UnitBlock
from corpusmill.pipeline.errors import OutputError
from corpusmill.pipeline.input.units import Unit
from corpusmill.pipeline.output.append_log import AppendLog
from corpusmill.pipeline.output.commit import commit
from corpusmill.pipeline.output.folder import OutputFolder
from corpusmill.pipeline.output.manifest import read_receipt
from corpusmill.pipeline.output.receipts import UnitRecord, checksum_of
from corpusmill.pipeline.output.sinks import SINKS
from corpusmill.pipeline.spec import OutputSpec

UNIT = Unit("key-00000-000000008-8", "/in/ü.jsonl", 8, 8)
NAME = UNIT.name
RESULT = pa.table({"score": pa.array([0.5, None], pa.float32())})


def block(*rejects: Reject, rows_read: int | None = None) -> UnitBlock:
    kept = pa.table({"id": [1, 2], "cat": pa.array(["a", "b"]).dictionary_encode()})
    return UnitBlock(
        UNIT,
        kept,
        pa.table({"text": ["x", "y"]}),
        rejects,
        2 + len(rejects) if rows_read is None else rows_read,
        True,
    )


def folder_of(output: OutputSpec) -> OutputFolder:
    return OutputFolder.of(output.url, output.format)


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@pytest.fixture(params=SINKS)
def output(request: pytest.FixtureRequest, tmp_path: Path) -> OutputSpec:
    """An output folder that is not there yet, in each format."""
    return OutputSpec(str(tmp_path / "deep" / "out"), request.param, "zstd")


def test_a_unit_becomes_one_file(output: OutputSpec) -> None:
    """Kept columns first, then each model's; texts are not copied. The receipt tells what was written."""
    receipt = commit(block(), [RESULT, pa.table({"b_value": [1, 2]})], output, tokens=7)
    folder = folder_of(output)
    assert files(Path(output.url)) == [f"data/{NAME}{folder.suffix}"]
    content = folder.read(folder.data(NAME))
    table = SINKS[output.format].read(pa.BufferReader(content))
    assert table.column_names == ["id", "cat", "score", "b_value"]
    assert table.to_pylist()[0] == {"id": 1, "cat": "a", "score": 0.5, "b_value": 1}
    assert receipt.record == UnitRecord(NAME, UNIT.source, 8, 8, 2, 0, 2, 7, True)
    assert (receipt.bytes, receipt.checksum) == (len(content), checksum_of(content))
    assert read_receipt(folder, NAME) == receipt


def test_rejects_are_lines_of_json(output: OutputSpec) -> None:
    """With file, row, reason and raw, whatever characters these hold."""
    odd = '\x00\x1f"\\ ü 😀 \u2028 \ud800'
    commit(block(Reject(9, "why", odd), Reject(11, f"not: {odd}", "")), [RESULT], output, tokens=7)
    content = folder_of(output).read(folder_of(output).rejects(NAME))
    assert [json.loads(line) for line in content.decode().split("\n")[:-1]] == [
        {"file": "/in/ü.jsonl", "row": 9, "reason": "why", "raw": odd},
        {"file": "/in/ü.jsonl", "row": 11, "reason": f"not: {odd}", "raw": ""},
    ]


def test_committing_again_writes_the_same_bytes(output: OutputSpec) -> None:
    """A late or second attempt changes nothing."""
    whole = block(Reject(9, "why", "raw"))
    first = commit(whole, [RESULT], output, tokens=7)
    before = {name: (Path(output.url) / name).read_bytes() for name in files(Path(output.url))}
    assert commit(whole, [RESULT], output, tokens=7) == first
    assert {name: (Path(output.url) / name).read_bytes() for name in files(Path(output.url))} == before
    assert len(before) == 2


def test_rejects_are_there_before_the_data(output: OutputSpec) -> None:
    """A unit that counts as committed has its rejects, wherever the process dies."""
    Path(output.url).mkdir(parents=True)
    (Path(output.url) / "data").write_text("in the way")
    with pytest.raises(OutputError):
        commit(block(Reject(9, "why", "raw")), [RESULT], output, tokens=7)
    assert files(Path(output.url)) == ["data", f"rejects/{NAME}.jsonl"]


def test_what_is_committed_survives_a_power_cut(output: OutputSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Content, then name, then folder are on the disk, of the rejects before anything of the data."""
    done: list[tuple[str, str]] = []
    sync, link, replace = os.fsync, os.link, os.replace

    def synced(descriptor: int) -> None:
        sync(descriptor)
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        done.append(("sync", "temporary" if path.suffix == ".tmp" else path.name))

    def linked(source: str, target: str) -> None:
        link(source, target)
        done.append(("name", Path(target).name))

    def replaced(source: str, target: str) -> None:
        replace(source, target)
        done.append(("name", Path(target).name))

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "link", linked)
    monkeypatch.setattr(os, "replace", replaced)
    commit(block(Reject(9, "why", "raw")), [RESULT], output, tokens=7)
    above = Path(output.url).parents[1].name
    assert done == [
        *[("sync", folder) for folder in (above, "deep", "out")],
        ("sync", "temporary"),
        ("name", f"{NAME}.jsonl"),
        ("sync", "rejects"),
        ("sync", "out"),
        ("sync", "temporary"),
        ("name", f"{NAME}{folder_of(output).suffix}"),
        ("sync", "data"),
    ]


@pytest.mark.parametrize("results", [[pa.table({"score": [1.0]})], [RESULT, pa.table({"x": [1, 2, 3]})]])
def test_results_of_another_length_are_never_written(output: OutputSpec, results: list[pa.Table]) -> None:
    """Rows and results would be paired wrongly."""
    with pytest.raises(OutputError, match=r"has 2 rows, a model gave [13]; nothing was written"):
        commit(block(), results, output, tokens=7)
    assert not Path(output.url).exists()


def test_a_unit_that_lost_a_row_is_never_written(output: OutputSpec) -> None:
    """Output rows and rejects must add up to the rows read."""
    with pytest.raises(OutputError, match="read 5 rows, but holds 2 and 1 rejects; nothing was written"):
        commit(block(Reject(9, "why", "raw"), rows_read=5), [RESULT], output, tokens=7)
    assert not Path(output.url).exists()


def test_a_folder_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    """With the path, the system's reason, and the field to change."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(
        OutputError, match=r"file/out/data/.*: cannot be written \(Not a directory\)"
    ) as raised:
        commit(block(), [RESULT], OutputSpec(str(tmp_path / "file" / "out"), "arrow", None), tokens=7)
    assert raised.value.field == "output.path"


def test_a_committed_file_is_never_written_again(output: OutputSpec) -> None:
    """Not by another driver whose machine rounds otherwise: the file, its rejects and its receipt stay."""
    first = commit(block(Reject(9, "why", "raw")), [RESULT], output, tokens=7)
    paths = [Path(output.url) / name for name in files(Path(output.url))]
    before = [(path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns) for path in paths]
    other = pa.table({"score": pa.array([0.25, None], pa.float32())})
    assert commit(block(Reject(9, "other", "raw")), [other], output, tokens=7) == first
    assert [(path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns) for path in paths] == before
    folder = folder_of(output)
    assert not folder.create(folder.data(NAME), b"at the same moment")
    assert files(Path(output.url)) == [str(path.relative_to(output.url)) for path in paths]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the system refuse to write more, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_no_part_of_a_file(output: OutputSpec) -> None:
    """Neither under its own name nor under a temporary one."""
    with (
        largest_file(100),
        pytest.raises(OutputError, match=r"cannot be written \(File too large\); it needs free space"),
    ):
        commit(block(), [RESULT], output, tokens=7)
    assert files(Path(output.url)) == []
    commit(block(), [RESULT], output, tokens=7)
    assert folder_of(output).committed() == {NAME}


def test_a_full_disk_while_a_record_grows_says_so(output: OutputSpec) -> None:
    """The job's own records are no exception."""
    folder = folder_of(output)
    with (
        largest_file(10),
        pytest.raises(OutputError, match=r"receipts\.jsonl: cannot be written \(File too large\)"),
    ):
        AppendLog(folder, "receipts.jsonl").add("x" * 100_000)


COMMITTER = """
import sys
import pyarrow as pa
from corpusmill.pipeline.blocks import Reject, UnitBlock
from corpusmill.pipeline.output.commit import commit
from corpusmill.pipeline.spec import OutputSpec
from corpusmill.pipeline.input.units import Unit

rows = pa.table({"value": [float(i * 7919 % 10007) for i in range(5_000)]})
print("ready", flush=True)
for number in range(100_000):
    unit = Unit(f"key-00000-{number % 50:09d}-8", "/in", number % 50, 0)
    rejects = (Reject(1, "why", "x" * 20_000),)
    block = UnitBlock(unit, rows, rows, rejects, 5_001)
    commit(block, [], OutputSpec(sys.argv[1], "arrow", None), tokens=number % 50)
"""


@pytest.mark.parametrize("seed", range(4))
def test_a_kill_leaves_whole_files_only(tmp_path: Path, seed: int) -> None:
    """SIGKILL at any moment, while new units appear and others are written again."""
    process = subprocess.Popen(
        [sys.executable, "-c", COMMITTER, str(tmp_path / "out")], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == b"ready\n"
        while not (tmp_path / "out" / "data").exists():
            time.sleep(0.001)
        time.sleep(random.Random(seed).uniform(0.01, 0.15))
        os.kill(process.pid, signal.SIGKILL)
    folder = OutputFolder.of(str(tmp_path / "out"), "arrow")
    assert folder.committed()
    for unit in folder.committed():
        assert pa.ipc.open_file(pa.BufferReader(folder.read(folder.data(unit)))).read_all().num_rows == 5_000
        assert read_receipt(folder, unit).record.unit == unit
        assert json.loads(folder.read(folder.rejects(unit)))["row"] == 1


def test_temporary_names_are_hidden(tmp_path: Path) -> None:
    """What a killed process leaves behind is no unit, and no reader of the output takes it for one."""
    output = OutputSpec(str(tmp_path), "arrow", None)
    commit(block(), [RESULT], output, tokens=7)
    (tmp_path / "data" / f".{NAME}.arrow.0123.tmp").write_bytes(b"half")
    folder = folder_of(output)
    assert (folder.names("data"), folder.committed()) == ([f"{NAME}.arrow"], {NAME})
    assert glob.glob(f"{tmp_path}/data/*") == [str(tmp_path / "data" / f"{NAME}.arrow")]
