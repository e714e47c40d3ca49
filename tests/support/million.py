"""An output of very many committed units, made up: real names, receipts and plan, empty data files."""

import os
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from corpusmill.jobs import JobConfig
from corpusmill.jobs.driver.fingerprint import fingerprint, write_fingerprint
from corpusmill.jobs.resolve.job import resolve
from corpusmill.pipeline.output.folder import OutputFolder
from corpusmill.pipeline.output.receipts import Receipt, UnitRecord

CHECKSUM = "sha256:" + "0123456789abcdef" * 4
ROWS_PER_GROUP = 2_500


def make(folder: Path, checkpoint: str, units: int, files: int, missing: int) -> Path:
    """Write inputs of one row a unit, and a job's output in which all but the last units are there."""
    per_file = units // files
    texts = pa.array(["word"] * per_file)
    (folder / "in").mkdir(parents=True)
    for number in range(files):
        table = pa.table({"id": range(number * per_file, (number + 1) * per_file), "text": texts})
        pq.write_table(table, folder / "in" / f"{number:06d}.parquet", row_group_size=ROWS_PER_GROUP)
    fields = {
        "name": "million",
        "input": {"path": str(folder / "in"), "text": "text", "keep": ["id"], "rows_per_unit": 1},
        "models": [{"checkpoint": checkpoint}],
        "output": {"path": str(folder / "out")},
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(fields))
    job = resolve(JobConfig.from_dict(fields))
    output = OutputFolder.of(str(folder / "out"), "arrow")
    write_fingerprint(output, fingerprint(job))
    (folder / "out" / "data").mkdir()
    names = [(split, offset) for split in job.splits for offset in range(split.rows or 0)]
    with (folder / "out" / "_job" / "receipts.jsonl").open("w") as receipts:
        for split, offset in names[: len(names) - missing]:
            unit = split.unit(offset)
            record = UnitRecord(
                unit.name, unit.source, offset, unit.first_row, 1, 0, 1, 3, offset + 1 == split.rows
            )
            receipts.write(Receipt(record, 0, CHECKSUM).to_line())
            os.close(os.open(output.data(unit.name), os.O_CREAT | os.O_WRONLY))
    return folder / "job.yaml"


if __name__ == "__main__":
    make(Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:6]))
