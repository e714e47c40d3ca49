"""Reading YAML without surprises: plain values only, and a key given twice is an error."""

from typing import Any

import yaml


class _StrictLoader(yaml.SafeLoader):
    """The safe loader, without YAML's tolerance for repeated keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} is given twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def load_yaml(text: str) -> Any:
    """Load a document; yaml.YAMLError, RecursionError or ValueError say what is wrong with it."""
    return yaml.load(text, _StrictLoader)
