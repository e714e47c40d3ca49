"""Paths to input files: what a file, folder, glob or list means, and what is refused."""

import os
from pathlib import Path

import fsspec
import pytest

from corpusmill.pipeline.errors import InputError
from corpusmill.pipeline.input.listing import compression, file_format, list_files
from corpusmill.pipeline.storage import absolute, stat_file


def names(folder: Path, *paths: str) -> list[str]:
    return [os.path.relpath(file.url, folder) for file in list_files(paths).files]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder as jobs find it: shards, a sub-folder, and what other tools leave behind."""
    for name in (
        "b.parquet",
        "a.jsonl",
        "c.json.gz",
        "deep/er/d.ndjson.zst",
        "_SUCCESS",
        ".a.jsonl.crc",
        "README.md",
        "_delta_log/0.json",
        ".ipynb_checkpoints/a.jsonl",
        ".hidden.jsonl",
        "_part.parquet",
        "deep/_tmp/x.jsonl",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def test_a_folder_gives_its_data_files_sorted(corpus: Path) -> None:
    """At any depth; hidden and underscored files and folders, and other formats, are left out."""
    assert names(corpus, str(corpus)) == ["a.jsonl", "b.parquet", "c.json.gz", "deep/er/d.ndjson.zst"]


def test_a_folder_below_a_hidden_one_is_read(tmp_path: Path) -> None:
    """Only what lies under the folder asked for decides."""
    folder = tmp_path / ".cache" / "_set"
    folder.mkdir(parents=True)
    (folder / "a.jsonl").write_bytes(b"{}")
    assert names(folder, str(folder)) == ["a.jsonl"]


def test_a_glob_leaves_out_markers(corpus: Path) -> None:
    """`*` means data; what other tools leave beside it has to be asked for by its first character."""
    assert names(corpus, f"{corpus}/*.js*") == ["a.jsonl", "c.json.gz"]
    assert names(corpus, f"{corpus}/_*.parquet") == ["_part.parquet"]


def test_a_glob_of_several_levels_leaves_out_hidden_folders(corpus: Path) -> None:
    """`**` does not wander into another tool's own files."""
    assert names(corpus, f"{corpus}/**/*.jsonl") == ["a.jsonl"]


def test_a_file_named_outright_is_taken_whatever_its_name(corpus: Path) -> None:
    """Asked for is asked for."""
    assert names(corpus, f"{corpus}/.hidden.jsonl") == [".hidden.jsonl"]


def test_a_name_with_brackets_is_a_file_first(tmp_path: Path) -> None:
    """`reviews[1].jsonl` is what browsers call a second download."""
    (tmp_path / "reviews[1].jsonl").write_bytes(b"{}")
    assert names(tmp_path, f"{tmp_path}/reviews[1].jsonl") == ["reviews[1].jsonl"]


def test_a_file_listed_twice_is_read_once(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By name, by glob, by folder and relative to the working directory: still one file."""
    monkeypatch.chdir(corpus)
    found = list_files(
        [f"{corpus}/a.jsonl", "a.jsonl", "./*.jsonl", f"file://{corpus}/a.jsonl", "deep/../a.jsonl"]
    )
    assert [file.url for file in found.files] == [f"{corpus}/a.jsonl"]


def test_relative_paths_become_absolute(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers have another working directory."""
    monkeypatch.chdir(corpus)
    monkeypatch.setenv("HOME", str(corpus))
    assert [file.url for file in list_files(["a.jsonl"]).files] == [f"{corpus}/a.jsonl"]
    assert [file.url for file in list_files(["~/a.jsonl"]).files] == [f"{corpus}/a.jsonl"]
    assert absolute("out") == f"{corpus}/out"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("{}/*.txt", "the glob matches no file"),
        ("{}/absent.jsonl", "no such file"),
        ("{}/absent/", "no such file"),
        ("{}/empty", "the folder holds no file"),
        ("nosuch://bucket/a.jsonl", "no file system for it"),
    ],
)
def test_a_path_that_gives_nothing_is_refused(tmp_path: Path, path: str, reason: str) -> None:
    """The message names the path as it was written."""
    (tmp_path / "empty").mkdir()
    path = path.format(tmp_path)
    with pytest.raises(InputError, match=reason) as raised:
        list_files([path])
    assert str(raised.value).startswith(path.split("bucket", maxsplit=1)[0])


def test_a_url_of_another_store_works() -> None:
    """Any fsspec URL: here the in-memory store, by file, folder and glob."""
    store = fsspec.filesystem("memory")
    store.pipe_file("/listing/a.jsonl", b"{}\n")
    store.pipe_file("/listing/_SUCCESS", b"")
    for path in ("memory://listing/a.jsonl", "memory://listing", "memory://listing/*.jsonl"):
        (file,) = list_files([path]).files
        assert (file.url, file.size) == ("memory:///listing/a.jsonl", 3)
        assert stat_file(file.url) == file


def test_rewriting_a_file_changes_its_mark(tmp_path: Path) -> None:
    """Same path, same size, another mark: other units."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"{}\n")
    before = stat_file(str(path))
    os.utime(path, ns=(1, 1_600_000_000_000_000_000))
    after = stat_file(str(path))
    assert (before.size, before.mark != after.mark) == (after.size, True)


def test_a_file_that_went_away_says_so(tmp_path: Path) -> None:
    """Between planning and reading, files are removed."""
    with pytest.raises(InputError, match=r"gone\.jsonl: expected a file, found none"):
        stat_file(str(tmp_path / "gone.jsonl"))


@pytest.mark.parametrize(
    ("name", "found", "packed"),
    [
        ("a.parquet", "parquet", None),
        ("A.PARQUET", "parquet", None),
        ("a.pq", "parquet", None),
        ("a.jsonl", "jsonl", None),
        ("a.ndjson", "jsonl", None),
        ("a.json", "jsonl", None),
        ("a.jsonl.gz", "jsonl", "gzip"),
        ("a.json.zst", "jsonl", "zstd"),
        ("a.ndjson.bz2", "jsonl", "bz2"),
        ("A.JSONL.XZ", "jsonl", "xz"),
        ("s3://b/x.y/a.jsonl.gz", "jsonl", "gzip"),
    ],
)
def test_a_name_tells_format_and_compression(name: str, found: str, packed: str | None) -> None:
    """Whatever its case."""
    assert (file_format(name), compression(name)) == (found, packed)


@pytest.mark.parametrize("name", ["a.csv", "a", "a.gz", "jsonl", "a.jsonl.zip"])
def test_an_unknown_suffix_names_the_known_ones(name: str) -> None:
    """And the field that settles it."""
    with pytest.raises(InputError, match=r"expected one of \.parquet, .*set input\.format"):
        file_format(name)
