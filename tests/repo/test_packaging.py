"""What the wheel holds: in an editable install a forgotten folder imports fine all the same."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("models", "pipeline", "jobs")


def setup() -> dict[str, Any]:
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"])


def folder_of(package: str, places: dict[str, str]) -> Path:
    """The folder that setuptools takes a package from: its own entry, or below its nearest parent's."""
    parent, rest = package, ""
    while parent not in places:
        parent, _, last = parent.rpartition(".")
        rest = f"{last}/{rest}"
    return ROOT / places[parent] / rest


def test_every_folder_with_python_files_is_a_listed_package() -> None:
    """New sub-folders have to be added to pyproject.toml."""
    there = {path.parent for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")}
    needed = {"corpusmill." + ".".join(path.relative_to(ROOT).parts) for path in there}
    listed = set(setup()["packages"])
    assert needed - listed == set(), "missing from [tool.setuptools] packages"


def test_every_listed_package_is_there_once() -> None:
    """A removed folder has to leave the list."""
    packages, places = setup()["packages"], setup()["package-dir"]
    assert len(packages) == len(set(packages))
    assert [name for name in packages if not folder_of(name, places).is_dir()] == []


def test_every_package_says_that_it_is_typed() -> None:
    """The marker is there, and it is in the wheel."""
    data = setup()["package-data"]
    for folder in FOLDERS:
        assert (ROOT / folder / "py.typed").is_file()
        assert "py.typed" in data[f"corpusmill.{folder}"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_python_folder_is_a_package(folder: str) -> None:
    """Without __init__.py a folder is a namespace that anything on the path may add to."""
    folders = {path.parent for path in (ROOT / folder).rglob("*.py")}
    assert [str(path) for path in sorted(folders) if not (path / "__init__.py").is_file()] == []


def test_the_wheel_holds_no_script() -> None:
    """Benchmarks and training are for a checkout; the demo's folder holds checkpoints and no code."""
    places = {Path(place).parts[0] for place in setup()["package-dir"].values()}
    assert not places & {"benchmarks", "training", "tests", "docs"}
    found = (ROOT / "configs" / "demo").rglob("*.py")
    assert [str(path.relative_to(ROOT)) for path in found] == ["configs/demo/__init__.py"]
