"""Verification finds every way in which an output can differ from what was committed."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from workshop import Workshop, contents, read_file

Damage = Callable[[Path], str]
"""Damages an output and returns what has to be said of it."""


@pytest.fixture(scope="module")
def finished(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished job of two files, with rejects."""
    folder = tmp_path_factory.mktemp("finished")
    workshop = Workshop(folder, checkpoints / "embedder", checkpoints / "classifier")
    workshop.lines([json.dumps({"id": i, "text": f"text {i}"}) if i % 6 else "{" for i in range(30)])
    workshop.table({"id": list(range(100, 120)), "text": [f"word {i}" for i in range(20)]})
    workshop.run()
    return folder


@pytest.fixture
def output(finished: Path, tmp_path: Path) -> Path:
    """A copy of its output, to damage."""
    return Path(shutil.copytree(finished / "out", tmp_path / "out"))


def verified(workshop: Workshop, output: Path) -> dict[str, Any]:
    """Return the JSON result; the exit code has to agree, and nothing may be written."""
    before = contents(output)
    result = workshop.cli("verify", output, "--json")
    assert contents(output) == before
    assert result.stderr == ""
    found: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == (0 if found["ok"] else 1)
    assert found["ok"] is not bool(found["problems"])
    return found


def first(output: Path, folder: str = "data") -> Path:
    return sorted((output / folder).iterdir())[0]


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def edit_manifest(output: Path, change: Callable[[list[dict[str, Any]]], Any]) -> None:
    path = output / "_manifest.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)


def flipped_byte(output: Path) -> str:
    path = first(output)
    flip(path, path.stat().st_size // 2)
    return f"data/{path.name}: checksum differs"


def flipped_end(output: Path) -> str:
    path = first(output)
    flip(path, path.stat().st_size - 1)
    return f"data/{path.name}: cannot be read"


def lost_file(output: Path) -> str:
    path = first(output)
    path.unlink()
    return f"data/{path.name}"


def copied_over(output: Path) -> str:
    one, other = sorted((output / "data").iterdir())[:2]
    other.write_bytes(one.read_bytes())
    return f"data/{other.name}: holds unit {one.stem}; the file was renamed or copied"


def copied_beside(output: Path) -> str:
    path = first(output)
    name = path.name.replace("-8.arrow", "-9.arrow")
    (output / "data" / name).write_bytes(path.read_bytes())
    return f"data/{name}: holds unit {path.stem}"


def stray_file(output: Path) -> str:
    (output / "data" / "notes.txt").write_text("mine")
    return "data/notes.txt: not a file of this output"


def stray_folder(output: Path) -> str:
    (output / "data" / "more").mkdir()
    return "data/more: not a file of this output"


def cut_short(output: Path) -> str:
    path = first(output)
    path.write_bytes(path.read_bytes()[:-50])
    return f"data/{path.name}: cannot be read"


def emptied(output: Path) -> str:
    first(output).write_bytes(b"")
    return f"data/{first(output).name}: cannot be read"


def lost_rows(output: Path) -> str:
    path = first(output)
    table = pa.ipc.open_file(path).read_all()
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table.slice(1))
    return f"got {table.num_rows - 1} rows"


def lost_rejects(output: Path) -> str:
    path = first(output, "rejects")
    path.unlink()
    return f"rejects/{path.name}: expected"


def fewer_rejects(output: Path) -> str:
    path = first(output, "rejects")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    return f"rejects/{path.name}: expected"


def reject_twice(output: Path) -> str:
    path = max((output / "rejects").iterdir(), key=lambda path: path.stat().st_size)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], lines[0], *lines[2:]]))
    return f"rejects/{path.name}: expected {len(lines)} rejected rows"


def broken_rejects(output: Path) -> str:
    path = first(output, "rejects")
    path.write_text("{")
    return f"rejects/{path.name}: expected one JSON object per line"


def stray_at_the_top(output: Path) -> str:
    (output / "notes.txt").write_text("mine")
    return "notes.txt: not a file of this output"


def change_reject(output: Path, **changes: Any) -> str:
    path = first(output, "rejects")
    head, *rest = path.read_text().splitlines()
    path.write_text("\n".join([json.dumps(json.loads(head) | changes), *rest]) + "\n")
    return f"rejects/{path.name}"


def reject_of_another_row(output: Path) -> str:
    return f"{change_reject(output, row=10_000)}: expected rows "


def reject_of_another_file(output: Path) -> str:
    return f"{change_reject(output, file='elsewhere')}: expected rejects of "


def unit_between_units(output: Path) -> str:
    """A file that is right in itself, but whose rows others have too."""
    path = first(output)
    table = pa.ipc.open_file(path).read_all()
    name = path.stem.replace("-000000000-8", "-000000004-8")
    record = json.loads(table.schema.metadata[b"corpusmill"]) | {"unit": name, "offset": 4}
    described = table.replace_schema_metadata({b"corpusmill": json.dumps(record).encode()})
    with (
        pa.OSFile(str(output / "data" / f"{name}.arrow"), "wb") as file,
        pa.ipc.new_file(file, described.schema) as writer,
    ):
        writer.write_table(described)
    return f"data/{name}: expected a unit of a planned input"


def stray_rejects(output: Path) -> str:
    (output / "rejects" / "0000-00000-000000000-8.jsonl").write_text("{}")
    return "rejects/0000-00000-000000000-8.jsonl: not a file of this output"


def manifest_without_a_row(output: Path) -> str:
    gone: list[dict[str, Any]] = []
    edit_manifest(output, lambda rows: gone.append(rows.pop(1)))
    return f"{gone[0]['file']}: not in the manifest"


def manifest_with_a_row_more(output: Path) -> str:
    edit_manifest(output, lambda rows: rows.append(rows[0] | {"unit": "abc-00000-000000000-8"}))
    return "data/abc-00000-000000000-8.arrow: in the manifest, but missing in data/"


def manifest_with_a_row_twice(output: Path) -> str:
    edit_manifest(output, lambda rows: rows.append(rows[0]))
    return "_manifest.parquet: names a unit more than once"


def manifest_with(column: str, value: Any) -> Damage:
    def damage(output: Path) -> str:
        edit_manifest(output, lambda rows: rows[0].update({column: value}))
        return "checksum differs" if column == "checksum" else f"expected {column} "

    return damage


def manifest_without(column: str) -> Damage:
    def damage(output: Path) -> str:
        path = output / "_manifest.parquet"
        pq.write_table(pq.read_table(path).drop_columns([column]), path)
        return "_manifest.parquet: expected the columns of a manifest"

    return damage


def manifest_cut_short(output: Path) -> str:
    path = output / "_manifest.parquet"
    path.write_bytes(path.read_bytes()[:-10])
    return "_manifest.parquet: cannot be read"


DAMAGES: dict[str, Damage] = {
    "a byte flipped": flipped_byte,
    "the last byte flipped": flipped_end,
    "a data file lost": lost_file,
    "a data file over another": copied_over,
    "a data file copied": copied_beside,
    "a stray file": stray_file,
    "a stray folder": stray_folder,
    "a data file cut short": cut_short,
    "a data file empty": emptied,
    "a row lost": lost_rows,
    "a rejects file lost": lost_rejects,
    "a reject lost": fewer_rejects,
    "a reject twice": reject_twice,
    "rejects broken": broken_rejects,
    "stray rejects": stray_rejects,
    "a stray file at the top": stray_at_the_top,
    "a reject of another row": reject_of_another_row,
    "a reject of another file": reject_of_another_file,
    "a unit between units": unit_between_units,
    "manifest: a row lost": manifest_without_a_row,
    "manifest: a row more": manifest_with_a_row_more,
    "manifest: a row twice": manifest_with_a_row_twice,
    "manifest: rows": manifest_with("rows", 3),
    "manifest: rejected": manifest_with("rejected", 1),
    "manifest: tokens": manifest_with("tokens", 1),
    "manifest: source": manifest_with("source", "elsewhere"),
    "manifest: row_start": manifest_with("row_start", 5),
    "manifest: bytes": manifest_with("bytes", 5),
    "manifest: file": manifest_with("file", "data/x.arrow"),
    "manifest: checksum": manifest_with("checksum", "sha256:0"),
    "manifest: source_mark": manifest_with("source_mark", "0"),
    "manifest: rows null": manifest_with("rows", None),
    "manifest: a column lost": manifest_without("source_mark"),
    "manifest: checksums lost": manifest_without("checksum"),
    "manifest cut short": manifest_cut_short,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damage_is_found_and_named(workshop: Workshop, output: Path, damage: Damage) -> None:
    """Exit code 1, and a problem with its place."""
    expected = damage(output)
    found = verified(workshop, output)
    assert not found["ok"]
    assert [problem for problem in found["problems"] if expected in problem], found["problems"]


def test_a_good_output_has_no_problems(workshop: Workshop, output: Path) -> None:
    """With the counts of the run, in words and as JSON."""
    found = verified(workshop, output)
    assert (found["ok"], found["complete"], found["problems"]) == (True, True, [])
    assert (found["units"], found["rows"], found["rejected"]) == (7, 45, 5)
    assert workshop.cli("verify", output).stdout == "ok: 7 units, 45 rows, 5 rejected, complete\n"


LISTED = (
    "a data file lost",
    "a data file copied",
    "a stray file",
    "a data file cut short",
    "a data file empty",
)


@pytest.mark.parametrize("damage", [DAMAGES[name] for name in LISTED], ids=LISTED)
def test_a_listing_finds_faults_of_names_and_sizes(workshop: Workshop, output: Path, damage: Damage) -> None:
    """Faults inside the files are not found."""
    assert workshop.cli("verify", output, "--listing").exit_code == 0
    path = first(output)
    flip(path, path.stat().st_size // 2)
    assert workshop.cli("verify", output, "--listing").exit_code == 0
    expected = damage(output).split(":")[0]
    result = workshop.cli("verify", output, "--listing")
    assert result.exit_code == 1
    assert expected in result.stdout


def test_a_listing_needs_no_inputs(workshop: Workshop) -> None:
    """It counts rows from the metadata of the data files."""
    source = workshop.numbered(20)
    workshop.run()
    source.unlink()
    (workshop.output / "_job" / "receipts.jsonl").unlink()
    result = workshop.cli("verify", workshop.output, "--listing")
    assert (result.exit_code, result.stdout) == (0, "ok: 3 units, 20 rows, 0 rejected, complete\n")


def test_a_problem_is_printed_and_nothing_else_on_standard_error(workshop: Workshop, output: Path) -> None:
    """One line per problem, then the verdict."""
    expected = stray_file(output)
    result = workshop.cli("verify", output)
    assert result.exit_code == 1
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert expected in lines[0]
    assert lines[-1].startswith("NOT OK: 7 units")


@pytest.mark.parametrize("lost", [0, 3])
def test_an_output_without_a_manifest_is_unfinished_and_fine(
    workshop: Workshop, output: Path, lost: int
) -> None:
    """Then data files may be missing, and those that are there are still checked."""
    (output / "_manifest.parquet").unlink()
    for path in sorted((output / "data").iterdir())[:lost]:
        path.unlink()
    found = verified(workshop, output)
    assert (found["ok"], found["complete"], found["units"]) == (True, False, 7 - lost)
    expected = flipped_byte(output)
    assert expected in verified(workshop, output)["problems"][0]


def test_an_output_is_verified_without_its_inputs(workshop: Workshop) -> None:
    """What the plan noted of them is enough to see that a data file is missing."""
    source = workshop.table({"id": list(range(20)), "text": [f"word {i}" for i in range(20)]})
    workshop.run()
    source.unlink()
    assert verified(workshop, workshop.output)["ok"]
    lost_file(workshop.output)
    assert not verified(workshop, workshop.output)["ok"]


def test_parquet_output_is_verified_alike(workshop: Workshop) -> None:
    """By its own reader."""
    workshop.numbered(10)
    workshop.run(output__format="parquet")
    assert verified(workshop, workshop.output)["ok"]
    path = first(workshop.output)
    table = read_file(path)
    buffer = io.BytesIO()
    pq.write_table(table.slice(1), buffer)
    path.write_bytes(buffer.getvalue())
    assert not verified(workshop, workshop.output)["ok"]


@pytest.mark.parametrize("name", ["nowhere", "in"])
def test_a_folder_that_is_no_output_is_told(workshop: Workshop, name: str) -> None:
    """Not an empty success."""
    workshop.numbered(3)
    result = workshop.cli("verify", workshop.folder / name)
    assert result.exit_code == 1
    assert f"{workshop.folder / name}: expected the output folder of a job" in result.stderr
    assert result.stdout == ""


def test_what_is_no_number_is_found_in_results_only(workshop: Workshop) -> None:
    """A kept column may hold NaN, whatever its name."""
    columns = {"id": [1, 2], "text": ["a", "b"], "value": [float("nan"), 1.0], "score": [1.0, float("nan")]}
    workshop.table(columns)
    workshop.run(input__keep=["id", "value", "score"])
    assert verified(workshop, workshop.output)["ok"]
    path = first(workshop.output)
    table = pa.ipc.open_file(path).read_all()
    vectors = table["embedding"].combine_chunks()
    spoiled = pa.FixedSizeListArray.from_arrays(
        pa.array([float("nan")] * len(vectors.values), pa.float32()), 16
    )
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table.set_column(3, table.schema.field("embedding"), spoiled))
    assert (
        f"data/{path.name}: column 'embedding': expected finite numbers, got NaN or an infinity"
        in verified(workshop, workshop.output)["problems"]
    )
