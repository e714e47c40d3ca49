"""The record of the demo corpus."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Document:
    """A docstring; `name` is qualified within the module and empty for the module's own."""

    module: str
    name: str
    text: str
