"""The documentation's code blocks, run as a reader would: in order, in one folder."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BIN = Path(sys.executable).parent
FENCE = re.compile(r"^```(\w*)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TITLE = re.compile(r'title="([^"]+)"')
LONGEST = 300


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the file that it is, the output that the page shows of it."""

    language: str
    title: str | None
    text: str
    output: str | None


def pages() -> list[str]:
    """The pages that explain something, by their names below docs/: no decisions, no measurements."""
    return sorted(
        path.relative_to(DOCS).as_posix() for folder in (DOCS, DOCS / "tasks") for path in folder.glob("*.md")
    )


def blocks(page: str) -> Iterator[Block]:
    """The blocks of a page, named from docs/ on; one of `text` that follows another at once is its output."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found = list(FENCE.finditer(text))
    for i, match in enumerate(found):
        language, info, body = match.groups()
        output = None
        if i + 1 < len(found) and found[i + 1].group(1) == "text":
            between = text[match.end() : found[i + 1].start()]
            output = found[i + 1].group(3) if not between.strip() else None
        title = TITLE.search(info)
        yield Block(language, title.group(1) if title else None, body, output)


def run_page(page: str, folder: Path, *, replaced: Mapping[str, str] | None = None) -> list[str]:
    """Runs a page's blocks in a folder; returns what was run. Raises where one fails or prints otherwise."""
    done = []
    for block in blocks(page):
        text = block.text
        for old, new in (replaced or {}).items():
            text = text.replace(old, new)
        if block.title:
            (folder / block.title).write_text(text, encoding="utf-8")
        elif block.language == "sh":
            done += [_run(command, folder) for command in text.splitlines() if command]
        elif block.language == "python":
            (folder / "example.py").write_text(text, encoding="utf-8")
            done.append(_run(f"{sys.executable} example.py", folder, expected=block.output))
    return done


def _run(command: str, folder: Path, *, expected: str | None = None) -> str:
    environment = {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "CORPUSMILL_STATE": str(folder / "state"),
    }
    done = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    if expected is not None:
        assert done.stdout == expected, f"{command} printed\n{done.stdout}"
    return command
