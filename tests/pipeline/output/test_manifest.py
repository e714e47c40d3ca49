"""The manifest and the receipts: every row of every file accounted for, also after a crash."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpusmill.pipeline.errors import OutputError
from corpusmill.pipeline.input.planning import plan_splits, remaining
from corpusmill.pipeline.input.readers import READERS
from corpusmill.pipeline.input.readers import jsonl as reader_module
from corpusmill.pipeline.input.unit_size import UnitSizing
from corpusmill.pipeline.input.units import Split
from corpusmill.pipeline.output.append_log import AppendLog
from corpusmill.pipeline.output.commit import commit
from corpusmill.pipeline.output.folder import OutputFolder
from corpusmill.pipeline.output.manifest import RECEIPTS, SCHEMA, receipts, write_manifest
from corpusmill.pipeline.output.receipts import Receipt
from corpusmill.pipeline.output.sinks import SINKS
from corpusmill.pipeline.spec import InputSpec, OutputSpec
from corpusmill.pipeline.storage import StoredFile

Write = Callable[..., StoredFile]
SPEC = InputSpec("text", None, ("id",), pa.schema([("id", pa.int64()), ("text", pa.string())]))


@pytest.fixture(params=["arrow-local", "parquet-local", "arrow-memory"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> OutputSpec:
    """Either format on a disk, and an object store."""
    name, store = request.param.split("-")
    return OutputSpec(
        str(tmp_path / "out") if store == "local" else f"memory://{tmp_path.name}/out", name, "zstd"
    )


@pytest.fixture
def splits(parquet: Write, jsonl: Write, monkeypatch: pytest.MonkeyPatch) -> tuple[Split, ...]:
    """Parquet of two row groups, JSONL of several byte ranges with bad lines, and a small file."""
    monkeypatch.setattr(reader_module, "SPLIT_BYTES", 300)
    table = pa.table({"id": range(10), "text": [f"t{i}" for i in range(10)]})
    lines = [
        b"bad" if i % 9 == 7 else json.dumps({"id": i, "text": "x" * (i % 13)}).encode() for i in range(60)
    ]
    files = [
        parquet(table, "a.parquet", row_group_size=6),
        jsonl(b"\n\n".join(lines), "b.jsonl"),
        jsonl(b'{"id": 1}\n', "c.jsonl"),
    ]
    return plan_splits(files, "auto", SPEC, UnitSizing(4, 1.0, 8))


def commit_all(splits: tuple[Split, ...], output: OutputSpec) -> dict[str, Receipt]:
    """Read and commit every unit, as an engine whose model counts characters."""
    folder = OutputFolder.of(output.url, output.format)
    found = {}
    noted = AppendLog(folder, RECEIPTS)
    for split in splits:
        for block in READERS[split.format].read(split, SPEC, frozenset()):
            lengths = [len(text or "") for text in block.inputs["text"].to_pylist()]
            receipt = commit(block, [pa.table({"length": lengths})], output, tokens=sum(lengths))
            noted.add(receipt.to_line())
            found[receipt.record.unit] = receipt
    noted.close()
    return found


def test_rows_of_a_file_are_numbered_without_gaps(splits: tuple[Split, ...], output: OutputSpec) -> None:
    """In the order of the input, over row groups and byte ranges; rejected rows count."""
    folder = OutputFolder.of(output.url, output.format)
    table = write_manifest(folder, splits, commit_all(splits, output))
    rows = table.to_pylist()
    totals = {split.file.url: 0 for split in splits}
    for row in rows:
        assert row["row_start"] == totals[row["source"]]
        assert row["row_stop"] - row["row_start"] == row["rows"] + row["rejected"]
        totals[row["source"]] = row["row_stop"]
    assert list(totals.values()) == [10, 60, 1]
    assert list(dict.fromkeys(row["source"] for row in rows)) == list(totals)
    assert sum(row["rejected"] for row in rows) == 6


def test_a_file_that_begins_with_an_empty_range_counts_from_zero(
    jsonl: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A byte range without rows has no unit: its file's rows do not go on from the file before."""
    monkeypatch.setattr(reader_module, "SPLIT_BYTES", 300)
    files = [jsonl([{"id": i} for i in range(9)], "a.jsonl"), jsonl(b"\n" * 400 + b'{"id": 1}\n', "b.jsonl")]
    output = OutputSpec(str(tmp_path / "out"), "arrow", None)
    splits = plan_splits(files, "auto", SPEC, UnitSizing(4, 1.0, 8))
    table = write_manifest(OutputFolder.of(output.url, output.format), splits, commit_all(splits, output))
    assert table["row_start"].to_pylist() == [0, 4, 8, 0]


def test_a_row_says_all_about_its_file(splits: tuple[Split, ...], output: OutputSpec) -> None:
    """And what was returned is what was written."""
    folder = OutputFolder.of(output.url, output.format)
    found = commit_all(splits, output)
    table = write_manifest(folder, splits, found)
    assert table.schema == SCHEMA
    assert pq.read_table(pa.BufferReader(folder.read(folder.manifest))).equals(table)
    for row in table.to_pylist():
        content = folder.read(f"{folder.url}/{row['file']}")
        data = SINKS[output.format].read(pa.BufferReader(content))
        receipt = found[row["unit"]]
        assert (row["rows"], row["bytes"], row["checksum"]) == (data.num_rows, len(content), receipt.checksum)
        assert (row["tokens"], row["rejected"]) == (receipt.record.tokens, receipt.record.rejected)
        split = next(split for split in splits if split.offset_of(row["unit"]) is not None)
        assert (row["source_size"], row["source_mark"]) == (split.file.size, split.file.mark)


def test_rejects_have_the_manifests_row_numbers(splits: tuple[Split, ...], output: OutputSpec) -> None:
    """Also in later byte ranges: the row of a reject is the line's number among the rows of its file."""
    folder = OutputFolder.of(output.url, output.format)
    table = write_manifest(folder, splits, commit_all(splits, output))
    found = []
    for row in table.to_pylist():
        if row["rejected"]:
            numbers = [
                json.loads(line)["row"] for line in folder.read(folder.rejects(row["unit"])).splitlines()
            ]
            assert all(row["row_start"] <= number < row["row_stop"] for number in numbers)
            found += numbers
    assert found == [7, 16, 25, 34, 43, 52]


def test_every_input_row_is_one_output_row_in_order(splits: tuple[Split, ...], output: OutputSpec) -> None:
    """Reading the data files in the manifest's order gives the input again."""
    folder = OutputFolder.of(output.url, output.format)
    table = write_manifest(folder, splits, commit_all(splits, output))
    found: list[int] = []
    for name in table["file"].to_pylist():
        found += (
            SINKS[output.format].read(pa.BufferReader(folder.read(f"{folder.url}/{name}")))["id"].to_pylist()
        )
    assert found == [*range(10), *(i for i in range(60) if i % 9 != 7), 1]


def test_the_manifest_does_not_depend_on_the_order_of_commits(
    splits: tuple[Split, ...], output: OutputSpec
) -> None:
    """Workers finish in any order: the same bytes."""
    folder = OutputFolder.of(output.url, output.format)
    found = commit_all(splits, output)
    write_manifest(folder, splits, found)
    before = folder.read(folder.manifest)
    write_manifest(folder, splits, dict(reversed(found.items())))
    assert folder.read(folder.manifest) == before


def test_a_finished_job_has_nothing_left(splits: tuple[Split, ...], output: OutputSpec) -> None:
    """Known from names and receipts, whatever the format."""
    folder = OutputFolder.of(output.url, output.format)
    found = commit_all(splits, output)
    assert folder.committed() == set(found)
    left = remaining(splits, folder.committed(), receipts(folder, folder.committed()))
    assert (left.pending, left.committed) == ((), set(found))


def test_what_is_missing_is_read_again(splits: tuple[Split, ...], output: OutputSpec) -> None:
    """Each unit that is not there, none that is; then the same bytes are there as before."""
    folder = OutputFolder.of(output.url, output.format)
    found = commit_all(splits, output)
    lost = sorted(found)[::3]
    before = {unit: folder.read(folder.data(unit)) for unit in found}
    kept = {unit: receipt for unit, receipt in found.items() if unit not in lost}
    again = {}
    for pending in remaining(splits, kept, kept).pending:
        for block in READERS[pending.split.format].read(pending.split, SPEC, pending.skip):
            lengths = [len(text or "") for text in block.inputs["text"].to_pylist()]
            again[block.unit.name] = commit(
                block, [pa.table({"length": lengths})], output, tokens=sum(lengths)
            )
    assert sorted(again) == lost
    assert {unit: folder.read(folder.data(unit)) for unit in found} == before


TEARS: dict[str, Callable[[bytes], bytes]] = {
    "cut in a line": lambda text: text[: len(text) // 2],
    "glued": lambda text: text[:50] + text[: len(text) // 2],
    "zeros": lambda text: bytes(4096) + b"\n" + text[300:],
    "not receipts": lambda text: b'1\n"x"\nnull\n[]\n{}\n{"bytes": 1}\n' + text[:200],
    "no UTF-8": lambda text: b"\xff\xfe\n" + text[10:],
    "empty": lambda _: b"",
}


@pytest.mark.parametrize("tear", TEARS.values(), ids=TEARS)
def test_receipts_torn_by_a_crash_are_made_again(
    splits: tuple[Split, ...], output: OutputSpec, tear: Callable[[bytes], bytes]
) -> None:
    """From the data files themselves: the list is a convenience, the files are the truth."""
    folder = OutputFolder.of(output.url, output.format)
    found = commit_all(splits, output)
    for name in folder.names("_job"):
        folder.put(folder.job(name), tear(folder.read(folder.job(name))))
    assert receipts(folder, folder.committed()) == found
    again = AppendLog(folder, RECEIPTS)
    again.add(next(iter(found.values())).to_line())
    again.close()
    assert receipts(folder, folder.committed()) == found


def test_receipts_of_units_that_are_gone_do_not_count(splits: tuple[Split, ...], output: OutputSpec) -> None:
    """Presence is commit, whatever the list says."""
    found = commit_all(splits, output)
    unit = next(iter(found))
    assert set(receipts(OutputFolder.of(output.url, output.format), [unit])) == {unit}


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"ARROW1\0\0" + bytes(50), None], ids=["empty", "text", "cut", "foreign"]
)
def test_a_file_that_is_no_data_file_is_named(output: OutputSpec, content: bytes | None) -> None:
    """Somebody's own file in `data/`, or a damaged one: an error with its path, not a crash."""
    folder = OutputFolder.of(output.url, output.format)
    if content is None:
        sink = pa.BufferOutputStream()
        SINKS[output.format].write(pa.table({"a": [1]}), sink, None)
        content = bytes(memoryview(sink.getvalue()))
    folder.put(folder.data("mine"), content)
    with pytest.raises(
        OutputError, match=r"data/mine\.\w+: expected a data file that a job wrote.*move it away"
    ):
        receipts(folder, folder.committed())
