"""Imports go one way: jobs, pipeline, models; and Ray stays where it is listed."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import corpusmill.jobs
import corpusmill.models
import corpusmill.pipeline

ROOT = Path(__file__).parents[2]
PACKAGES = ("models", "pipeline", "jobs")
FORBIDDEN = {
    "models": {
        "corpusmill.pipeline",
        "corpusmill.jobs",
        "ray",
        "pyarrow",
        "tokenizers",
        "transformers",
        "fsspec",
    },
    "pipeline": {"corpusmill.jobs", "typer", "pydantic", "transformers"},
    "jobs": {"ray", "transformers"},
}
ENGINE = (
    "answers",
    "cluster",
    "committers",
    "gauges",
    "pool",
    "ray_engine",
    "shared_folders",
    "source",
    "streaks",
    "workers",
)
RAY = {f"pipeline/engine/{name}.py" for name in ENGINE} | {"jobs/submission/jobs_api.py"}
NEED_TRITON = (".triton_sums", ".triton_norms", "_kernels")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
NAMES = [str(path.relative_to(ROOT)) for path in FILES]


def imported(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every module imported anywhere in a file, functions included, and the level of a relative import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield module, node.level
            yield from ((f"{module}.{alias.name}", node.level) for alias in node.names)


def modules(path: Path) -> set[str]:
    """The modules that a file imports, and all their parents."""
    names = {name for name, level in imported(ast.parse(path.read_text(encoding="utf-8"))) if not level}
    return {".".join(name.split(".")[:depth]) for name in names for depth in range(1, name.count(".") + 2)}


def test_there_are_files_to_look_at() -> None:
    """A moved folder would make every test below pass."""
    assert len(FILES) > 60
    assert {name.split("/")[0] for name in NAMES} == set(PACKAGES)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_file_imports_only_what_its_package_may(path: Path) -> None:
    """Models know neither Ray nor Arrow; the pipeline knows no job; in function bodies too."""
    package = path.relative_to(ROOT).parts[0]
    allowed = {"ray"} if str(path.relative_to(ROOT)) in RAY else set()
    assert modules(path) & (FORBIDDEN[package] - allowed) == set()


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_imports_name_the_whole_path(path: Path) -> None:
    """Neither `import models`, which may be a user's own package, nor a relative import."""
    found = list(imported(ast.parse(path.read_text(encoding="utf-8"))))
    assert [name for name, level in found if level] == []
    assert [name for name, _ in found if name.split(".")[0] in PACKAGES] == []


def test_ray_is_imported_in_the_listed_files_only() -> None:
    """The rest of the program runs, and is tested, without it."""
    found = {name for name, path in zip(NAMES, FILES, strict=True) if "ray" in modules(path)}
    assert found == RAY


def test_the_walk_sees_imports_inside_functions_and_of_names() -> None:
    """The check itself: each of these must be seen."""
    tree = ast.parse("def f():\n    import ray.data\n    from corpusmill import jobs\n    from . import x\n")
    assert {("ray.data", 0), ("corpusmill.jobs", 0), ("", 1)} <= set(imported(tree))


def test_jobs_and_pipeline_import_without_ray() -> None:
    """The command line starts, plans and verifies without loading Ray."""
    script = (
        "import sys, corpusmill.jobs.cli, corpusmill.jobs, corpusmill.jobs.plan, corpusmill.jobs.verify\n"
    )
    script += "sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT.parent, check=False).returncode == 0


@pytest.mark.parametrize("package", [corpusmill.models, corpusmill.pipeline, corpusmill.jobs])
def test_all_lists_are_sorted_and_importable(package: ModuleType) -> None:
    """In every module: constants, classes, functions, each in order of the alphabet, once, and there."""
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if found.name.endswith(NEED_TRITON):
            continue
        module = importlib.import_module(found.name)
        names = list(getattr(module, "__all__", []))
        assert names == sorted(set(names), key=lambda name: (not name.isupper(), name[0].islower(), name))
        assert [name for name in names if not hasattr(module, name)] == []
