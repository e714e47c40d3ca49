"""Docstrings of the standard library's Python files, read with `ast`; no module is imported."""

import ast
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

from corpusmill.jobs.demo.document import Document

_SKIPPED_FOLDERS = frozenset(
    {"__pycache__", "_bundled", "idle_test", "lib-dynload", "site-packages", "dist-packages", "test", "tests"}
)
_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def source_documents(root: Path | None = None) -> Iterator[Document]:
    """Yield every docstring under `root` (default: the running Python's library), by module, then by line."""
    for module, tree in parsed_modules(root):
        for name, text in _docstrings(tree):
            yield Document(module=module, name=name, text=text)


def parsed_modules(root: Path | None = None) -> Iterator[tuple[str, ast.Module]]:
    """Yield the name and syntax tree of every module under `root`, by name."""
    root = root or Path(sysconfig.get_paths()["stdlib"])
    for module, path in sorted((_module_name(path, root=root), path) for path in _source_files(root)):
        yield module, _parse(path)


def _source_files(root: Path) -> Iterator[Path]:
    for path in root.rglob("*.py"):
        folders = path.relative_to(root).parts[:-1]
        # A folder such as `config-3.11-x86_64-linux-gnu` cannot be imported.
        if not _SKIPPED_FOLDERS.intersection(folders) and all(folder.isidentifier() for folder in folders):
            yield path


def _module_name(path: Path, *, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _parse(path: Path) -> ast.Module:
    with warnings.catch_warnings():
        # The library's own sources may warn about old escapes in strings.
        warnings.simplefilter("ignore")
        return ast.parse(path.read_bytes(), filename=str(path))


def _docstrings(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (qualified name, raw docstring); the module's own has the empty name."""
    if isinstance(node, _Documented):
        text = ast.get_docstring(node, clean=False)
        if text:
            yield prefix, text
    for child in ast.iter_child_nodes(node):
        name = getattr(child, "name", None) if isinstance(child, _Documented) else None
        yield from _docstrings(child, f"{prefix}.{name}".lstrip(".") if name else prefix)
