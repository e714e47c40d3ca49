"""A folder with checkpoints, input files and job files, and the real command line to run on them."""

import copy
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from click.testing import Result
from typer.testing import CliRunner

from corpusmill.jobs import JobConfig, RunResult, run
from corpusmill.jobs.cli.app import app

WORDS = re.findall(
    r"\w+", "the water runs down to the old house and they watch it all night with a good book"
)


def texts(count: int) -> list[str]:
    """Texts of 1 to 19 words, all different."""
    return [f"{' '.join(WORDS[i % 7 : i % 7 + 1 + i % 13])} {i}" for i in range(count)]


@dataclass(frozen=True)
class Workshop:
    """Writes inputs and jobs below `folder`, runs them, and reads what came out."""

    folder: Path
    embedder: Path
    classifier: Path

    @property
    def output(self) -> Path:
        return self.folder / "out"

    def lines(self, lines: Sequence[str | bytes], name: str = "in/a.jsonl") -> Path:
        """Writes raw lines."""
        content = b"".join((line.encode() if isinstance(line, str) else line) + b"\n" for line in lines)
        return self._write(name, content)

    def rows(self, rows: Sequence[dict[str, Any]], name: str = "in/a.jsonl") -> Path:
        """Writes rows as JSON lines."""
        return self.lines([json.dumps(row) for row in rows], name)

    def numbered(self, count: int, name: str = "in/a.jsonl", start: int = 0) -> Path:
        """Writes JSON lines with `id` and `text`."""
        numbered = enumerate(texts(start + count)[start:], start)
        return self.rows([{"id": i, "text": text} for i, text in numbered], name)

    def table(self, columns: pa.Table | dict[str, Any], name: str = "in/a.parquet", **options: Any) -> Path:
        """Writes a Parquet file."""
        path = self._write(name, b"")
        pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), path, **options)
        return path

    def fields(self, **changes: Any) -> dict[str, Any]:
        """A job that embeds what is in `in/`; `input__text="body"` changes a field."""
        fields: dict[str, Any] = {
            "name": "test",
            "input": {"path": str(self.folder / "in"), "text": "text", "keep": ["id"], "rows_per_unit": 8},
            "models": [{"checkpoint": str(self.embedder)}],
            "output": {"path": str(self.output)},
        }
        fields = copy.deepcopy(fields)
        for path, value in changes.items():
            *parents, last = path.split("__")
            node: Any = fields
            for key in parents:
                node = node[int(key)] if isinstance(node, list) else node.setdefault(key, {})
            node[last] = value
        return fields

    def job(self, **changes: Any) -> Path:
        """Writes a job file."""
        return self._write("job.yaml", yaml.safe_dump(self.fields(**changes)).encode())

    def run(self, **changes: Any) -> RunResult:
        """Runs a job in this process."""
        return run(JobConfig.from_dict(self.fields(**changes)), executor="inline")

    def cli(self, command: str, *arguments: object) -> Result:
        """Calls the command line in this process; `run` gets the inline executor."""
        inline = ("--executor", "inline") if command == "run" else ()
        return CliRunner().invoke(app, [command, *map(str, arguments), *inline])

    def data(self) -> dict[str, bytes]:
        """The data files by name."""
        return contents(self.output / "data")

    def read(self) -> pa.Table:
        """All output rows, in the order of the manifest."""
        return read_output(self.output)

    def rejects(self) -> list[dict[str, Any]]:
        """All rejects, in the order of their rows."""
        files = sorted((self.output / "rejects").glob("*.jsonl"))
        found = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
        return sorted(found, key=lambda reject: (reject["file"], reject["row"]))

    def _write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def read_output(folder: Path) -> pa.Table:
    """All rows of a finished output, in the order of its manifest."""
    files = pq.read_table(folder / "_manifest.parquet")["file"].to_pylist()
    return pa.concat_tables([read_file(folder / name) for name in files])


def read_file(path: Path) -> pa.Table:
    """A data file without the record of its unit."""
    table = pq.read_table(path) if path.suffix == ".parquet" else pa.ipc.open_file(path).read_all()
    return table.replace_schema_metadata(None)
