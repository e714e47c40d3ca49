"""The routes of sentence-transformers' Router, in older folders Asym: modules for each kind of text."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from corpusmill.models.checkpoints.config_fields import inside, located, read_object
from corpusmill.models.errors import ConfigError, OptionError

ROUTERS = ("Router", "Asym")
DOCUMENTS = ("document", "doc", "passage", "corpus")
"""Names of the route for documents, the first that there is."""
ROUTER_FILES = ("router_config.json", "config.json")


@dataclass(frozen=True)
class Route:
    """One route: class name and folder of its modules, which `listing` names; `all` are all routes."""

    name: str
    all: tuple[str, ...]
    modules: tuple[tuple[str, str], ...]
    listing: Path


def read_route(root: Path, folder: str, asked: str | None) -> Route:
    """Return the route that was asked for, as `encode(task=...)` chooses it; None asks for that of documents.

    A Router without a route for documents has a default.
    """
    listing = _listing(root, folder)
    raw = read_object(listing)
    with located(listing):
        types, structure = _object(raw, "types"), _object(raw, "structure")
        parameters = _object(raw, "parameters")
        name = _resolve(structure, parameters, asked)
        chain = structure[name]
        if not isinstance(chain, list) or not set(chain) <= types.keys():
            raise ConfigError(f"structure: expected a list of names in types for {name!r}, got {chain!r}")
    for module in chain:
        inside(root, module, named_by=listing)
    modules = tuple((str(types[module]), PurePosixPath(folder, module).as_posix()) for module in chain)
    return Route(name, tuple(structure), modules, listing)


def all_modules(root: Path, folder: str) -> list[tuple[str, str]]:
    """Return folder and class name of the modules of all routes."""
    listing = _listing(root, folder)
    types = _object(read_object(listing), "types")
    for module in types:
        inside(root, module, named_by=listing)
    return [(PurePosixPath(folder, module).as_posix(), str(name)) for module, name in types.items()]


def _listing(root: Path, folder: str) -> Path:
    return next(
        (path for name in ROUTER_FILES if (path := root / folder / name).is_file()),
        root / folder / ROUTER_FILES[0],
    )


def _object(raw: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = raw.get(name)
    if not isinstance(value, dict):
        raise ConfigError(f"{name}: expected an object, got {value!r}")
    return value


def _resolve(structure: Mapping[str, Any], parameters: Mapping[str, Any], asked: str | None) -> str:
    """Return the name of a route; the order is that of sentence-transformers for texts."""
    mappings = _mappings(parameters)
    tasks = DOCUMENTS if asked is None else (asked,)
    mapped = (mappings.get(key) for task in (*tasks, None) for key in ((task, "text"), (task, None)))
    direct = (task for task in (*tasks, "text") if task in structure)
    name = next((name for name in (*mapped, *direct) if name), None)
    if name is None and asked is None:
        name = parameters.get("default_route")
        if name is None and parameters.get("allow_empty_key", True):
            name = next(iter(structure), None)
    if name is None:
        raise OptionError(f"route: expected one of {', '.join(structure)}; got {asked!r}")
    if name not in structure:
        raise ConfigError(f"parameters: expected one of the routes {', '.join(structure)}, got {name!r}")
    return str(name)


def _mappings(parameters: Mapping[str, Any]) -> dict[tuple[Any, Any], str]:
    """Return the routes by (task, modality); JSON has these pairs as text."""
    found: dict[tuple[Any, Any], str] = {}
    for key, route in (parameters.get("route_mappings") or {}).items():
        try:
            task, modality = ast.literal_eval(key)
        except (ValueError, SyntaxError, TypeError):
            raise ConfigError(f"route_mappings: expected pairs of task and modality, got {key!r}") from None
        found[task, modality] = str(route)
    return found
