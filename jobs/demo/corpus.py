"""The demo's corpus: the documentation in the running Python's standard library, as JSONL shards.

A column has the spans that the demo's tagger should find in each text, so that it can be evaluated.
"""

import inspect
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

from corpusmill.jobs.demo.document import Document
from corpusmill.jobs.demo.native import native_documents
from corpusmill.jobs.demo.source import source_documents
from corpusmill.jobs.demo.spans import true_spans

MINIMUM_CHARACTERS = 20
TRUTH = "true_spans"
"""The column of the spans that the rules find in a text: list<struct<start, end, label>>."""


def collect() -> Iterator[Document]:
    """Yield cleaned docstrings, in the same order on the same Python; of equal texts only the first."""
    seen: set[str] = set()
    for document in chain(source_documents(), native_documents()):
        text = inspect.cleandoc(document.text).strip()
        if len(text) >= MINIMUM_CHARACTERS and text not in seen:
            seen.add(text)
            yield Document(module=document.module, name=document.name, text=text)


def write_jsonl(documents: Iterable[Document], folder: Path, shards: int = 4) -> list[Path]:
    """Write the documents, in order, to shards; return the shards in the same order."""
    if shards < 1:
        raise ValueError(f"shards: expected at least 1, got {shards}")
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(_record(document), ensure_ascii=False) + "\n" for document in documents]
    paths = [folder / f"stdlib-{shard:05d}-of-{shards:05d}.jsonl" for shard in range(shards)]
    for shard, path in enumerate(paths):
        _replace(path, lines[len(lines) * shard // shards : len(lines) * (shard + 1) // shards])
    return paths


def _record(document: Document) -> dict[str, Any]:
    return {**asdict(document), TRUTH: [span._asdict() for span in true_spans(document.text)]}


def _replace(path: Path, lines: Sequence[str]) -> None:
    """Write a file under a unique temporary name, sync it and rename it: readers see all of it or none.

    A file that already has these lines stays as it is, so that a second demo continues the first.
    """
    if path.exists() and path.read_text(encoding="utf-8") == "".join(lines):
        return
    with tempfile.NamedTemporaryFile(
        mode="w", encoding="utf-8", newline="\n", dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).replace(path)
