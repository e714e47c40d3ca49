"""What the wheel holds: in an editable install a forgotten folder imports fine all the same."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from setuptools import find_packages
from setuptools.config.pyprojecttoml import read_configuration

import corpusmill
import corpusmill.jobs
import corpusmill.models
import corpusmill.pipeline

ROOT = Path(__file__).parents[2]
FOLDERS = ("models", "pipeline", "jobs")


def test_every_folder_with_python_files_is_a_package_of_the_wheel() -> None:
    """A folder without `__init__.py` is not found, and anything on the path may add to it."""
    there = {path.parent for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")}
    needed = {"corpusmill." + ".".join(path.relative_to(ROOT).parts) for path in there}
    assert needed - set(find_packages(str(ROOT / "src"))) == set()


def test_the_package_is_links_to_the_folders_at_the_root() -> None:
    """Relative ones, which a clone anywhere keeps."""
    package = ROOT / "src" / "corpusmill"
    links = {path.name: path.readlink() for path in package.iterdir() if path.is_symlink()}
    wanted = {name: Path("../..") / name for name in FOLDERS} | {"demo": Path("../../configs/demo")}
    assert links == wanted
    assert all((package / name).is_dir() for name in wanted)


def test_the_package_says_that_it_is_typed() -> None:
    """One marker holds for all packages below it; it is there, and it is in the wheel."""
    data = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    assert "py.typed" in data["package-data"]["corpusmill"]
    assert (ROOT / "src" / "corpusmill" / "py.typed").is_file()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_version_stands_in_one_place() -> None:
    """pyproject.toml reads it from the package, without importing anything else."""
    assert read_configuration(ROOT / "pyproject.toml")["project"]["version"] == corpusmill.__version__


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_cannot_be_imported_by_its_own_name(folder: str, tmp_path: Path) -> None:
    """A user's own project may have a package `models`."""
    command = [sys.executable, "-c", f"import corpusmill; import {folder}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert f"No module named '{folder}'" in done.stderr


def test_no_folder_hides_a_public_name() -> None:
    """A folder `jobs/run` would replace the function `corpusmill.jobs.run` as soon as it is imported."""
    for package in (corpusmill.models, corpusmill.pipeline, corpusmill.jobs):
        folder = Path(package.__file__ or "").parent
        modules = {path.stem for path in folder.glob("*.py")} | {path.name for path in folder.iterdir()}
        assert modules & set(getattr(package, "__all__", ())) == set(), package.__name__
