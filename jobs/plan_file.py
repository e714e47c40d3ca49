"""`_job/plan.jsonl`: the splits of a job's input, one a line, for checking an output without its job file."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

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
    if not folder.exists(folder.job(FILE)):
        raise OutputError(f"{folder.url}: expected the output of a job, found no _job/{FILE}; check the path")
    return tuple(split_of(line) for line in read_lines(folder, FILE))


def read_lines(folder: OutputFolder, name: str) -> Iterator[dict[str, Any]]:
    """Yield the objects of one of the job's records."""
    with folder.open(folder.job(name)) as stream:
        for line in lines_of(stream):
            yield orjson.loads(line)


def split_of(fields: dict[str, Any]) -> Split:
    """Make a split of what a record says of it."""
    file = fields.pop("file")
    return Split(file=StoredFile(**file), **fields)
