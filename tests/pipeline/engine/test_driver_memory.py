"""The driver moves references: what it holds does not grow with the rows that go by."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from corpusmill.jobs import JobConfig, run

pytestmark = pytest.mark.usefixtures("ray_cluster")
UNITS = 12
LIMIT = 25 << 20


def resident() -> int:
    """Bytes of this process in memory, mapped blocks included."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (kilobytes,) = re.findall(r"VmRSS:\s+(\d+) kB", status)
    return int(kilobytes) << 10


@contextmanager
def watched() -> Iterator[list[int]]:
    """How much this process grew at most while the block ran; one number, at the end."""
    before, over = resident(), threading.Event()
    seen, grown = [before], []

    def watch() -> None:
        while not over.wait(0.01):
            seen.append(resident())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield grown
    finally:
        over.set()
        thread.join()
        grown.append(max(seen) - before)


def grown_with(job: dict[str, Any], folder: Path, rows: int) -> int:
    """What a run over so many rows a unit takes, of 2 KB each."""
    (folder / f"in{rows}").mkdir()
    for unit in range(UNITS):
        lines = (
            json.dumps({"id": i, "body": "the water", "more": f"{i * 7919 % 1000003:07d}" * 300})
            for i in range(unit * rows, (unit + 1) * rows)
        )
        (folder / f"in{rows}" / f"{unit:02}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    job["input"] |= {"path": str(folder / f"in{rows}"), "keep": ["id", "more"], "rows_per_unit": rows}
    job["output"] = {"path": str(folder / f"out{rows}")}
    with watched() as grown:
        result = run(JobConfig.from_dict(job))
    assert (result.rows, result.units) == (UNITS * rows, UNITS)
    return grown[0]


@pytest.mark.exhaustive
def test_the_drivers_memory_does_not_grow_with_the_rows(job: dict[str, Any], tmp_path: Path) -> None:
    """200 MB go by in as many units as 50 MB and 100 MB did before, which warmed everything up."""
    warming = [grown_with(job, tmp_path, rows) >> 20 for rows in (10, 2_000, 4_000)]
    grown = grown_with(job, tmp_path, 8_000)
    print(f"{warming} MB, then {grown >> 20} MB")
    assert grown < LIMIT
