"""`_job/plan.jsonl`: the splits of a job's input, one a line, for checking an output without its job file."""

from collections.abc import Sequence
from dataclasses import asdict

import orjson

from corpusmill.pipeline.errors import OutputError
from corpusmill.pipeline.output import OutputFolder
from corpusmill.pipeline.records import lines_of
from corpusmill.pipeline.storage import StoredFile
from corpusmill.pipeline.units import Split

FILE = "plan.jsonl"


def write_plan(folder: OutputFolder, splits: Sequence[Split]) -> None:
    """Write the plan of the current input."""
    folder.put(folder.job(FILE), b"".join(orjson.dumps(asdict(split)) + b"\n" for split in splits))


def read_plan(folder: OutputFolder) -> tuple[Split, ...]:
    """Read the plan back; an OutputError where there is none."""
    path = folder.job(FILE)
    if not folder.exists(path):
        raise OutputError(f"{folder.url}: expected the output of a job, found no _job/{FILE}; check the path")
    with folder.open(path) as stream:
        return tuple(_split(orjson.loads(line)) for line in lines_of(stream))


def _split(fields: dict[str, object]) -> Split:
    file = fields.pop("file")
    return Split(file=StoredFile(**file), **fields)  # type: ignore[arg-type]
