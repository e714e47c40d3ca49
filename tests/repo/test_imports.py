"""What every module keeps to: imports go one way, whole paths, and each library where it is listed."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import corpusmill.jobs
import corpusmill.models
import corpusmill.pipeline

ROOT = Path(__file__).parents[2]
PACKAGES = (corpusmill.models, corpusmill.pipeline, corpusmill.jobs)
FOLDERS = ("models", "pipeline", "jobs")
MODELS_NEED = {"corpusmill", "numpy", "safetensors", "torch", *sys.stdlib_module_names}
FORBIDDEN = {
    "models": {"corpusmill.pipeline", "corpusmill.jobs"},
    "pipeline": {"corpusmill.jobs", "pydantic", "transformers", "typer"},
    "jobs": {"transformers"},
}
RAY = {
    "jobs/submission/jobs_api.py",
    "pipeline/engine/ray_calls.py",
    "pipeline/engine/cluster.py",
    "pipeline/engine/committers.py",
    "pipeline/engine/messages.py",
    "pipeline/engine/pool.py",
    "pipeline/engine/ray_engine.py",
    "pipeline/engine/shared_folders.py",
    "pipeline/engine/source.py",
    "pipeline/engine/faults.py",
    "pipeline/engine/workers.py",
}
"""The rest of the program runs, and is tested, without Ray."""
TRITON = {
    "models/gpu/mobilebert_kernels.py",
    "models/gpu/embedding_kernels.py",
    "models/gpu/attention_kernels.py",
    "models/gpu/window_kernels.py",
    "models/gpu/norm_kernel.py",
    "models/gpu/sum_and_norm_kernels.py",
}
"""Triton comes with torch's builds for CUDA only: these files are imported inside functions."""


@cache
def trees() -> dict[str, ast.Module]:
    """Every module of the three packages by its path from the root."""
    paths = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    assert len(paths) > 60, "a moved folder would make every test here pass"
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def imported(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every module imported anywhere in a file, functions included, and the level of a relative import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield module, node.level
            yield from ((f"{module}.{alias.name}", node.level) for alias in node.names)


def modules(tree: ast.AST) -> set[str]:
    """The modules that a file imports, and all their parents."""
    names = {name for name, level in imported(tree) if not level}
    return {".".join(name.split(".")[:depth]) for name in names for depth in range(1, name.count(".") + 2)}


def module_of(path: str) -> str:
    """The name under which a file is imported."""
    return f"corpusmill.{path.removesuffix('.py').removesuffix('/__init__').replace('/', '.')}"


def test_the_walk_sees_imports_inside_functions_and_of_names() -> None:
    """The check itself: each of these must be seen."""
    tree = ast.parse("def f():\n    import ray.data\n    from corpusmill import jobs\n    from . import x\n")
    assert {("ray.data", 0), ("corpusmill.jobs", 0), ("", 1)} <= set(imported(tree))


def test_a_file_imports_only_what_its_package_may() -> None:
    """Imports go one way, jobs, pipeline, models; in function bodies too."""
    found = {path: modules(tree) & FORBIDDEN[path.split("/")[0]] for path, tree in trees().items()}
    assert {path: names for path, names in found.items() if names} == {}


def test_models_need_torch_numpy_and_safetensors_only() -> None:
    """And Triton in the listed files."""
    found = {
        path: {name.partition(".")[0] for name in modules(tree)}
        - MODELS_NEED
        - ({"triton"} if path in TRITON else set())
        for path, tree in trees().items()
        if path.startswith("models/")
    }
    assert {path: names for path, names in found.items() if names} == {}


def test_imports_name_the_whole_path() -> None:
    """Neither `import models`, which may be a user's own package, nor a relative import."""
    found = [
        (path, name)
        for path, tree in trees().items()
        for name, level in imported(tree)
        if level or name.split(".")[0] in FOLDERS
    ]
    assert found == []


def test_ray_is_imported_in_the_listed_files_only() -> None:
    """A file that no longer needs Ray leaves the list."""
    assert {path for path, tree in trees().items() if "ray" in modules(tree)} == RAY


def test_kernels_of_triton_are_imported_inside_functions() -> None:
    """The package imports on a machine without Triton."""
    kernels = {module_of(path) for path in TRITON}
    found = [
        (path, name)
        for path, tree in trees().items()
        if path not in TRITON
        for node in tree.body
        if not isinstance(node, ast.FunctionDef | ast.ClassDef)
        for name, _ in imported(node)
        if name in kernels
    ]
    assert found == []


def test_jobs_and_pipeline_import_without_ray() -> None:
    """The command line starts, plans and verifies without loading Ray."""
    modules = (
        "corpusmill.jobs.cli.app, corpusmill.jobs, corpusmill.jobs.plan.plan, corpusmill.jobs.verify.verify"
    )
    script = f"import sys, {modules}\n"
    script += "sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT.parent, check=False).returncode == 0


def test_all_lists_are_sorted_and_importable() -> None:
    """In every module: constants, classes, functions, each in order of the alphabet, once, and there."""
    kernels = {module_of(path) for path in TRITON}
    unsorted, missing = [], []
    for package in PACKAGES:
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if found.name in kernels or found.name.endswith("._kernels"):  # the latter is plain C
                continue
            module = importlib.import_module(found.name)
            names = list(getattr(module, "__all__", []))
            if names != sorted(set(names), key=lambda name: (not name.isupper(), name[0].islower(), name)):
                unsorted.append(found.name)
            missing += [f"{found.name}.{name}" for name in names if not hasattr(module, name)]
    assert (unsorted, missing) == ([], [])
