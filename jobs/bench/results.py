"""What a measurement found, as a record and as a page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """Rows of one kind under a heading; each row has the same keys, which head the columns."""

    heading: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Findings:
    """What a theme measured: tables, and what one has to know to read them."""

    title: str
    tables: tuple[Table, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class BenchResult:
    """A measurement, and where its page was written."""

    theme: str
    title: str
    date: str
    hardware: str
    threads: int
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    tables: Mapping[str, Sequence[Row]]
    notes: Sequence[str] = field(default_factory=tuple)
    page: str = ""


def page_of(result: BenchResult, command: str) -> str:
    """Write a measurement as Markdown."""
    software = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    lines = [
        f"# {result.title}",
        "",
        f"{result.date}, {result.hardware}, {result.threads} thread(s). {software}.",
        "",
        f"Command: `{command}`",
        "",
    ]
    for heading, rows in result.tables.items():
        lines += [f"## {heading}", "", *_table(rows), ""]
    lines += [f"- {note}" for note in result.notes]
    return "\n".join(lines).rstrip() + "\n"


def write_page(folder: Path, name: str, text: str) -> Path:
    """Write a page, under another name where one of today is there already."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_{date.today().isoformat()}.md"
    number = 2
    while path.exists():
        path = folder / f"{name}_{date.today().isoformat()}-{number}.md"
        number += 1
    path.write_text(text, encoding="utf-8")
    return path


def _table(rows: Sequence[Row]) -> Iterator[str]:
    if not rows:
        return
    yield f"| {' | '.join(rows[0])} |"
    yield "|" + "---|" * len(rows[0])
    for row in rows:
        yield f"| {' | '.join(map(_cell, row.values()))} |"


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.5g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
