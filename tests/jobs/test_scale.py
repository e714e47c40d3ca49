"""Very many units: planned, continued and listed at a cost that grows with their number and no faster."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.million import make
from workshop import Workshop

MAIN = "from corpusmill.jobs.cli import main; main()"


@dataclass(frozen=True)
class Cost:
    """Exit code, CPU seconds (what else the machine does is no part) and peak memory in GB of a command."""

    code: int
    seconds: float
    gigabytes: float


def cost(*arguments: object) -> Cost:
    """Runs the command line in a process of its own."""
    process = subprocess.Popen([sys.executable, "-c", MAIN, *map(str, arguments)], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Cost(process.returncode, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e6)


@pytest.mark.parametrize(
    ("units", "files", "seconds", "gigabytes"),
    [(2_000, 5, 20, 0.8), pytest.param(1_000_000, 100, 60, 2.0, marks=pytest.mark.slow)],
)
def test_units_cost_little_each(
    workshop: Workshop, tmp_path: Path, units: int, files: int, seconds: float, gigabytes: float
) -> None:
    """A resumed run with two units to do, a run with none, and a listing; interpreter and model included."""
    job = make(tmp_path / "many", str(workshop.embedder), units, files, missing=2)
    resumed = cost("run", job, "--executor", "inline")
    again = cost("run", job, "--executor", "inline")
    listed = cost("verify", tmp_path / "many" / "out", "--listing")
    for found in (resumed, again, listed):
        print(found)
        assert found.code == 0
        assert found.seconds < seconds
        assert found.gigabytes < gigabytes
