"""No module imports itself by way of others; imports in function bodies count."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("models", "pipeline", "jobs")


def names_of_modules() -> dict[str, Path]:
    """Return every module of the three packages by its name."""
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return {"corpusmill." + ".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in files}


def imported(path: Path, modules: dict[str, Path]) -> Iterator[str]:
    """Yield the modules that a file imports anywhere; a package stands for its `__init__`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                below = f"{node.module}.{alias.name}"
                inside = {below, f"{below}.__init__"} & set(modules)
                yield from inside or {node.module, f"{node.module}.__init__"} & set(modules)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield from {alias.name, f"{alias.name}.__init__"} & set(modules)


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the strongly connected groups of more than one module (Tarjan's algorithm)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                found.append(sorted(group))

    for name in graph:
        if name not in index:
            visit(name)
    return found


def test_no_modules_import_each_other() -> None:
    """A circle of imports has no place to begin reading."""
    modules = names_of_modules()
    graph = {name: set(imported(path, modules)) - {name} for name, path in modules.items()}
    assert any(graph.values())
    assert circles(graph) == []


def test_a_circle_is_found() -> None:
    """The check itself: a circle of three, beside a module outside it."""
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()}
    assert circles(graph) == [["a", "b", "c"]]
