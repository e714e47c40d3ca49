"""Reading YAML without surprises: plain values only, and a key given twice is reported."""

from collections.abc import Iterator
from typing import Any

import yaml

MERGE = "tag:yaml.org,2002:merge"


def load_yaml(text: str) -> Any:
    """Load a document; yaml.YAMLError, RecursionError or ValueError say what is wrong with it."""
    return yaml.safe_load(text)


def repeated_keys(text: str) -> Iterator[tuple[tuple[int | str, ...], str]]:
    """Yield the place of each key that its mapping has already, and what to say of it.

    YAML forbids this, and its loader takes the last value without a word.
    """
    root = yaml.compose(text, yaml.SafeLoader)
    if root is not None:
        yield from _repeated(root, (), set())


def _repeated(
    node: yaml.Node, path: tuple[int | str, ...], seen: set[int]
) -> Iterator[tuple[tuple[int | str, ...], str]]:
    if id(node) in seen:
        return  # an alias
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            yield from _repeated(item, (*path, i), seen)
    elif isinstance(node, yaml.MappingNode):
        keys = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != MERGE:
                if key.value in keys:
                    line, column = key.start_mark.line + 1, key.start_mark.column + 1
                    words = f"line {line}, column {column}: the key {key.value!r} is given twice; remove one"
                    yield (*path, key.value), words
                keys.add(key.value)
            yield from _repeated(value, (*path, str(getattr(key, "value", ""))), seen)
