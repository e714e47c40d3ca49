"""Which names are exceptions of the running Python: read from its sources, nothing of them is run."""

import ast
import builtins
import functools
from collections.abc import Iterator

from corpusmill.jobs.demo.native import native_modules
from corpusmill.jobs.demo.source import parsed_modules


def is_exception(name: str) -> bool:
    """True for an exception's name as one meets it in text.

    Without its module a name counts only with a capital beyond the first (`ValueError`, `BdbQuit`):
    `Exception`, `Full` or `error` are words of any sentence. With it any counts (`queue.Full`, `os.error`).
    """
    module, _, last = name.rpartition(".")
    compound = last[1:] != last[1:].lower()
    return name in all_exceptions() if module and not compound else compound and last in all_exceptions()


@functools.cache
def all_exceptions() -> frozenset[str]:
    """Each exception's bare name, and with its module; an alias (`os.error`) counts as a name."""
    found: set[str] = set()
    for owner, prefix in [(builtins, "builtins"), *native_modules()]:
        found.update(*((name, f"{prefix}.{name}") for name, member in vars(owner).items() if _raised(member)))
    definitions = [(module, *pair) for module, tree in parsed_modules() for pair in _definitions(tree)]
    before = -1
    # A base may be defined in a module that comes later: until nothing is added.
    while before != len(found):
        before = len(found)
        for module, name, origins in definitions:
            if origins & found:
                found.update((name, f"{module}.{name}"))
    return frozenset(found)


def _raised(member: object) -> bool:
    return isinstance(member, type) and issubclass(member, BaseException)


def _definitions(tree: ast.Module) -> Iterator[tuple[str, set[str]]]:
    """Each top-level name, with the last parts of its base classes or of what it is an alias of."""
    imported = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield node.name, {_last(base) for base in node.bases}
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            value = node.value
            # `error = _compiler.error` is an alias of a module's; `error = _log.error` is a method.
            if not isinstance(value, ast.Attribute) or getattr(value.value, "id", "") in imported:
                yield node.targets[0].id, {_last(value)}


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
