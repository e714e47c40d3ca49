"""The output folder: its names, and its records on local disks and on object stores."""

from pathlib import Path

import fsspec
import pytest

from corpusmill.pipeline.errors import OutputError
from corpusmill.pipeline.output.folder import OutputFolder


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> OutputFolder:
    """An empty output folder on a disk and on a store that only knows whole objects."""
    return OutputFolder.of(
        str(tmp_path / "out") if request.param == "local" else f"memory://{tmp_path.name}/out", "arrow"
    )


def test_a_file_that_was_put_is_there(folder: OutputFolder) -> None:
    """Whole, and replaced as a whole."""
    path = folder.data("u-1-2-3")
    assert not folder.exists(path)
    folder.put(path, b"one")
    folder.put(path, memoryview(b"other"))
    assert (folder.exists(path), folder.read(path)) == (True, b"other")
    with folder.open(path) as stream:
        assert stream.read(2) == b"ot"


def test_names_are_listed_sorted(folder: OutputFolder) -> None:
    """Also right after they appeared; a folder that is not there has none."""
    assert (folder.names("data"), folder.names(""), folder.committed()) == ([], [], set())
    for name in "bca":
        folder.put(folder.data(name), b"x")
    folder.put(folder.rejects("a"), b"x")
    folder.put(folder.manifest, b"x")
    assert folder.names("data") == ["a.arrow", "b.arrow", "c.arrow"]
    assert folder.names("") == ["_manifest.parquet", "data", "rejects"]
    assert folder.committed() == {"a", "b", "c"}


def test_files_of_another_format_are_no_commits(folder: OutputFolder) -> None:
    """Nor are other people's notes."""
    folder.put(folder.data("a") + ".txt", b"x")
    folder.put(folder.data("b").replace(".arrow", ".parquet"), b"x")
    assert folder.committed() == set()


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    """With the field to change."""
    (tmp_path / "out").write_text("x")
    folder = OutputFolder.of(str(tmp_path / "out"), "arrow")
    with pytest.raises(
        OutputError, match=r"expected a folder, got a file; choose another output\.path"
    ) as raised:
        folder.committed()
    assert raised.value.field == "output.path"


def test_paths_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers have another working directory."""
    monkeypatch.chdir(tmp_path)
    assert OutputFolder.of("out", "arrow").data("u") == f"{tmp_path}/out/data/u.arrow"
    assert OutputFolder.of("memory://b/out", "parquet").rejects("u") == "memory:///b/out/rejects/u.jsonl"


def test_a_store_gets_one_put_a_file() -> None:
    """No temporary objects stay behind where there is no rename."""
    folder = OutputFolder.of("memory://one-put/out", "arrow")
    folder.put(folder.data("a"), b"x")
    assert fsspec.filesystem("memory").find("/one-put") == ["/one-put/out/data/a.arrow"]
