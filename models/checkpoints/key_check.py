"""The check of a checkpoint's JSON files against the table of known keys."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from corpusmill.models.checkpoints.config_fields import inside, read_json, unexpected
from corpusmill.models.checkpoints.key_table import FILES, File, Keys
from corpusmill.models.checkpoints.routes import ROUTER_FILES, ROUTERS
from corpusmill.models.checkpoints.sentence_modules import TRANSFORMER_FILES
from corpusmill.models.errors import ConfigError

ARGUMENTS = {
    "config_args": "config_arguments",
    "config_kwargs": "config_arguments",
    "model_args": "model_arguments",
    "model_kwargs": "model_arguments",
    "tokenizer_args": "tokenizer_arguments",
    "processor_kwargs": "tokenizer_arguments",
}
"""Keys of the Transformer's file whose values are objects with keys of their own."""
COMPONENTS = ("model", "normalizer", "pre_tokenizer", "post_processor", "decoder")
"""The parts of tokenizer.json that have a kind."""


@dataclass(frozen=True)
class Stated:
    """An object in a file of a checkpoint, and the part of the table that has its keys.

    `kind` is the architecture or the class of a module. `within` is where in the file the object is.
    """

    path: Path
    values: Mapping[str, Any]
    file: File
    kind: str
    within: str = ""


def known(file: File, key: str, kind: str) -> Keys | None:
    """Return the row of a key for an architecture or a class of modules, None if the table lacks it."""
    rows = [row for row in file.keys if not row.of or kind in row.of]
    exact = (row for row in rows if key in row.names)
    matching = (row for row in rows if any(fnmatchcase(key, name) for name in row.names))
    return next(exact, None) or next(matching, None)


def refuse_values(path: Path, values: Mapping[str, Any], file: File, kind: str, within: str = "") -> None:
    """Refuse the first value that is not accepted, with what to do."""
    for key, value in values.items():
        row = known(file, key, kind)
        if row is not None and row.values is not None and value is not None and value not in row.values:
            name = f"{within}.{key}" if within else key
            advice = f"; {row.remark}" if row.treatment == "refused" else ""
            raise ConfigError(f"{path}: {unexpected(name, row.values, value)}{advice}")


def check_keys(root: Path, folder: Path, kind: str) -> None:
    """Refuse values that are not accepted, in all files but tokenizer.json.

    `folder` has the encoder and the tokenizer, `root` the files of sentence-transformers.
    """
    for stated in (*_of_encoder(folder, kind), *_of_sentences(root, folder)):
        refuse_values(stated.path, stated.values, stated.file, stated.kind, stated.within)


def key_notes(root: Path, folder: Path, kind: str) -> tuple[str, ...]:
    """Return notes about unknown keys, one for each file, and about keys that are always noted.

    The values of tokenizer.json are checked here: it is too large to be read more often than once.
    """
    of_tokenizer = list(_of_tokenizer(folder))
    for stated in of_tokenizer:
        refuse_values(stated.path, stated.values, stated.file, stated.kind, stated.within)
    notes: list[str] = []
    unknown: dict[str, list[str]] = {}
    for stated in (*_of_encoder(folder, kind), *of_tokenizer, *_of_sentences(root, folder)):
        name = stated.path.relative_to(root).as_posix()
        for key, value in stated.values.items():
            row = known(stated.file, key, stated.kind)
            shown = f"{stated.within}.{key}" if stated.within else key
            if row is None and value is not None:
                unknown.setdefault(name, []).append(shown)
            elif row is not None and row.noted and value:
                notes.append(f"{name}: {shown}: {row.remark}")
    for name, keys in unknown.items():
        listed = ", ".join(dict.fromkeys(keys))
        notes.append(f"{name}: unknown to this version, so without effect: {listed} (docs/checkpoints.md)")
    return tuple(notes)


def _of_encoder(folder: Path, kind: str) -> Iterator[Stated]:
    for name in ("config", "tokenizer", "special_tokens", "added_tokens"):
        yield from _read(folder / FILES[name].name, name, kind)


def _of_tokenizer(folder: Path) -> Iterator[Stated]:
    for stated in _read(folder / FILES["tokenizer_json"].name, "tokenizer_json", ""):
        yield stated
        yield from _part(stated, "model", "tokenizer_model")
        for part in COMPONENTS:
            values = stated.values.get(part)
            if part == "model" and isinstance(values, dict):
                values = {"type": values.get("type")}  # not its vocabulary
            kinds = dict.fromkeys(_kinds(values), True)
            yield Stated(stated.path, kinds, FILES["tokenizer_kinds"], part, f"{part}.type")


def _kinds(part: Any) -> Iterator[str]:
    """Yield the kinds of a part of a tokenizer and, for a sequence, of its parts."""
    if isinstance(part, dict):
        if isinstance(part.get("type"), str):
            yield part["type"]
        for inner in part.values():
            yield from _kinds(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _kinds(inner)


def _of_sentences(root: Path, folder: Path) -> Iterator[Stated]:
    """Yield the files of sentence-transformers; they count where modules.json is."""
    listing = root / FILES["modules"].name
    if not listing.is_file():
        return
    yield from _read(root / FILES["sentence_transformers"].name, "sentence_transformers", "")
    for name in TRANSFORMER_FILES:
        if (folder / name).is_file():
            for stated in _read(folder / name, "transformer", ""):
                yield stated
                for key, part in ARGUMENTS.items():
                    yield from _part(stated, key, part)
            break
    for module in _objects(read_json(listing)):
        yield Stated(listing, module, FILES["modules"], "")
        yield from _of_module(root, str(module.get("type", "")), str(module.get("path", "")), listing)


def _of_module(root: Path, class_name: str, folder: str, listing: Path) -> Iterator[Stated]:
    kind = class_name.rpartition(".")[2]
    if not any(kind in row.of for row in FILES["module"].keys) or (not folder and kind not in ROUTERS):
        return
    where = inside(root, folder, named_by=listing)
    names = ROUTER_FILES if kind in ROUTERS else ("config.json",)
    path = next((where / name for name in names if (where / name).is_file()), where / names[0])
    for stated in _read(path, "module", kind):
        yield stated
        yield from _part(stated, "parameters", "router")
        types = stated.values.get("types")
        for name, inner in types.items() if isinstance(types, dict) else ():
            yield from _of_module(path.parent, str(inner), str(name), path)


def _part(stated: Stated, key: str, name: str) -> Iterator[Stated]:
    values = stated.values.get(key)
    if isinstance(values, dict):
        yield Stated(stated.path, values, FILES[name], "", key)


def _read(path: Path, name: str, kind: str) -> Iterator[Stated]:
    """Yield a file's object; a file that cannot be read is reported by the code that uses it."""
    try:
        values = read_json(path)
    except ConfigError:
        return
    if isinstance(values, dict):
        yield Stated(path, values, FILES[name], kind)


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
